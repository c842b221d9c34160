"""The pages at `/`: tasks, one task with its steps, attempts, log and history, and the definitions; without JavaScript."""

from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, HTTPException, Request
from pydantic import ValidationError
from starlette.responses import Response

from definitions.program import Program
from reconciler import status
from reconciler.api.inert import inert_bytes
from reconciler.api.logs import TAIL_BYTES, address, chosen
from reconciler.api.pages.rendering import FOLDER, page
from reconciler.api.probes import notice
from reconciler.api.queries import DefinitionsQuery, TasksQuery
from reconciler.api.view import View
from reconciler.position import locate
from reconciler.waiting import focus
from state.errors import StateError
from state.pages import BadCursor
from state.phases import State, TaskPhase
from state.records import AttemptRecord, TaskSnapshot

EVENTS_SHOWN = 100
LOG_SHOWN = 64 * 1024
_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
Values = dict[str, Any]


def router(view: View) -> APIRouter:
    """The pages over one state folder; they are not part of the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def tasks(request: Request) -> Response:
        return _shown(view, lambda: _tasks(view, request))

    @routes.get("/tasks/{namespace}/{name}")
    async def task(request: Request, namespace: str, name: str) -> Response:
        return _shown(view, lambda: _task(view, request, namespace, name))

    @routes.get("/definitions")
    async def definitions(request: Request) -> Response:
        return _shown(view, lambda: _definitions(view, request))

    @routes.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in _TYPES:
            raise HTTPException(404)
        body = (FOLDER / "assets" / name).read_bytes()
        return Response(body, headers={"Cache-Control": "max-age=300"}, media_type=_TYPES[name])

    return routes


def _shown(view: View, make: Any) -> Response:
    """The page that `make` says as (template, values), or what went wrong as a page."""
    code, values = 200, {}
    try:
        template, values = make()
    except HTTPException as error:
        code, template = error.status_code, "problem.html"
        values = {"title": HTTPStatus(code).phrase, "detail": error.detail, "live": False}
    except (ValidationError, BadCursor) as error:
        code, template = 400, "problem.html"
        values = {"title": "Bad Request", "detail": _first(error), "live": False}
    except StateError as error:
        code, template = 503, "problem.html"
        values = {"title": "Not readable now", "detail": str(error), "live": True}
    return page(
        template,
        {"live": True, "here": "", "source": "", "notice": notice(view), "now": status.moment(view.clock()), **values},
        code,
    )


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
    return str(error)


def _tasks(view: View, request: Request) -> tuple[str, Values]:
    given = {key: value for key, value in request.query_params.items() if value}
    labels = [value for value in request.query_params.getlist("label") if value]
    chosen_ = TasksQuery.model_validate({**given, "label": labels})
    items, following = view.tasks(chosen_)
    values = {
        "here": "tasks",
        "items": items,
        "more": f"/?{urlencode({**given, 'cursor': following})}" if following else "",
        "chosen": chosen_,
        "counts": _by_state(view),
        "states": [state.value for state in State],
    }
    return "tasks.html", values


def _by_state(view: View) -> dict[str, int]:
    totals: dict[str, int] = {}
    for (_, state), number in view.reader.counts().items():
        totals[state] = totals.get(state, 0) + number
    return totals


def _task(view: View, request: Request, namespace: str, name: str) -> tuple[str, Values]:
    run, number = (_number(request, key) for key in ("run", "attempt"))
    found = view.task(namespace, name, run)
    program, now = view.program(found.record), view.clock()
    shown = status.task(found, program, now, view.pins(found.record))
    path = request.query_params.get("step") or _focus(found, view)
    selected = _selected(found, program, path, now) if program else None
    events = view.history(found.record.uid, EVENTS_SHOWN)
    values = {
        "here": "tasks",
        "live": found.record.phase not in {TaskPhase.FINISHED, TaskPhase.REVOKED},
        "source": found.record.source,
        "task": shown,
        "base": f"/tasks/{quote(namespace, safe='')}/{quote(name, safe='')}?" + (f"run={run}&" if run else ""),
        "selected": selected,
        "attempts": _attempts(view, found, path) if selected else [],
        "log": _log(view, found, path, number) if selected else None,
        "events": [status.event(each, found.record.identity) for each in events],
    }
    return "task.html", values


def _selected(found: TaskSnapshot, program: Program, path: str, now: datetime) -> status.Document | None:
    try:
        return status.step(found, locate(program, path), now)
    except KeyError:
        return None


def _number(request: Request, key: str) -> int | None:
    text = request.query_params.get(key, "")
    return int(text) if text.isdecimal() and 0 < len(text) < 10 else None


def _focus(found: TaskSnapshot, view: View) -> str:
    """The step to show when none was chosen: the one that the task's sentence is about, else the last one begun."""
    about = focus(found, view.program(found.record))
    if about:
        return about.place.path
    begun = [each for each in found.attempts.values() if each.started_at]
    return max(begun, key=lambda each: str(each.started_at)).path if begun else ""


def _attempts(view: View, task: TaskSnapshot, path: str) -> list[status.Document]:
    """Of the step and of the calls in it, the newest first."""
    found = view.attempts_below(task, path)
    found.sort(key=lambda each: (each.started_at is None, each.started_at, each.number), reverse=True)
    return [status.attempt(each, task.record.name) for each in found]


def _log(view: View, task: TaskSnapshot, path: str, number: int | None) -> Values | None:
    try:
        attempt: AttemptRecord = chosen(view, task, path, number)
    except HTTPException:
        return None
    log = view.log(attempt)
    start = max(0, log.size - min(LOG_SHOWN, TAIL_BYTES))
    text = inert_bytes(log.read(start, log.size - start))
    return {
        "attempt": attempt.number,
        "size": log.size,
        "cut": start > 0,
        "text": text,
        "address": address(task.record, attempt),
    }


def _definitions(view: View, request: Request) -> tuple[str, Values]:
    given = {key: value for key, value in request.query_params.items() if value}
    found = view.definitions(DefinitionsQuery.model_validate(given))
    values = {
        "here": "definitions",
        "items": [status.definition(each) for each in found.items],
        "sources": [status.source(each) for each in view.sources()],
        "more": f"/definitions?{urlencode({**given, 'cursor': found.next})}" if found.next else "",
    }
    return "definitions.html", values
