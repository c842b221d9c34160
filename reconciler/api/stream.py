"""`/api/v1/events` and `…/events`: what changes of state there were, as pages or as a stream that goes on.

A follower reads the database in short statements between its writes, so a slow one holds nothing but its connection.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response, StreamingResponse

from reconciler import status
from reconciler.api import models
from reconciler.api.answers import Answers
from reconciler.api.problems import documented
from reconciler.api.queries import EventsQuery, PageQuery, Run
from reconciler.api.view import View
from state.records import Uid

LOOK_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
BATCH = PageQuery(limit=200)
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


class TaskEventsQuery(EventsQuery):
    """Which events of which run."""

    run: Run = None


def router(view: View, answers: Answers) -> APIRouter:
    """The routes over one state folder."""
    routes = APIRouter(prefix="/api/v1", tags=["events"], responses=documented(400, 401, 403, 422, 503))

    @routes.get(
        "/events",
        operation_id="listEvents",
        response_model=models.Page[models.Event],
        responses=EVENT_STREAM,
        summary="All events",
    )
    async def events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
        return _events(request, query, view, answers, lambda: None)

    @routes.get(
        "/tasks/{namespace}/{name}/events",
        operation_id="listTaskEvents",
        response_model=models.Page[models.Event],
        responses={**EVENT_STREAM, **documented(404)},
        summary="The events of one task",
    )
    async def of_task(
        request: Request, namespace: str, name: str, query: Annotated[TaskEventsQuery, Query()]
    ) -> Response:
        return _events(request, query, view, answers, lambda: view.task(namespace, name, query.run).record.uid)

    return routes


def follows(request: Request, *, asked: bool) -> bool:
    """Whether the client wants a stream: by parameter, or by what it accepts (EventSource)."""
    return asked or "text/event-stream" in request.headers.get("accept", "")


def _events(
    request: Request, query: EventsQuery, view: View, answers: Answers, whose: Callable[[], Uid | None]
) -> Response:
    if follows(request, asked=query.follow):
        uid = whose()
        begin = _begin(request, query, view, uid)
        body = _nothing() if request.scope.get("head") else followed(view, uid, begin)
        return StreamingResponse(body, headers=_HEADERS, media_type="text/event-stream")

    def make() -> status.Document:
        found, after = view.events(query, query.after or 0, whose())
        return {"items": [status.event(*each) for each in found], "next": after}

    return answers.get(request, view.sequence(), make)


def _begin(request: Request, query: EventsQuery, view: View, uid: Uid | None) -> int:
    """After which sequence a stream begins: the client's last one, else what was asked, else now; a task's at 0."""
    last = request.headers.get("last-event-id", "").strip()
    if last:
        if not last.isdecimal() or len(last) > 18:
            raise HTTPException(400, "Last-Event-ID is the sequence of an event, a number")
        return int(last)
    if query.after is not None:
        return query.after
    return view.sequence() if uid is None else 0


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for each in nothing:
        yield each


async def followed(
    view: View, uid: Uid | None, after: int, look: float = LOOK_SECONDS, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncIterator[bytes]:
    """Events beyond `after` as server-sent events, for ever; a comment every `heartbeat` seconds of silence."""
    yield b"retry: 2000\n\n"
    seen, spoke = -1, monotonic()
    while True:
        signal = view.sequence()
        found = view.events(BATCH, after, uid)[0] if signal != seen else []
        for event, identity in found:
            yield server_sent(event.subject, status.event(event, identity), event.sequence)
            after, spoke = event.sequence, monotonic()
        if len(found) < BATCH.limit:
            seen = signal
            await asyncio.sleep(look)
        if monotonic() - spoke >= heartbeat:
            yield b": still here\n\n"
            spoke = monotonic()


def server_sent(kind: str, value: object, number: int) -> bytes:
    """One server-sent event with `value` as JSON on its one data line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"id: {number}\nevent: {kind}\ndata: {text}\n\n".encode("utf-8", "replace")
