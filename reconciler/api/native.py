"""`/api/v1/tasks`: tasks, their steps and attempts, and seed 1's document, in the form of `reconciler.status`."""

from typing import Annotated, NoReturn

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from reconciler import status
from reconciler.api import models
from reconciler.api.answers import Answers
from reconciler.api.problems import documented
from reconciler.api.queries import Number, RunPageQuery, RunQuery, TasksQuery
from reconciler.api.view import View
from reconciler.document import document
from state.pages import Page
from state.records import AttemptRecord, TaskRecord, TaskSnapshot

PREFIX = "/api/v1/tasks"
TASK = "/{namespace}/{name}"


def router(view: View, answers: Answers) -> APIRouter:
    """The routes of tasks over one state folder."""
    routes = APIRouter(prefix=PREFIX, tags=["tasks"], responses=documented(400, 401, 403, 422, 503))
    _lists(routes, view, answers)
    _objects(routes, view, answers)
    _attempts(routes, view, answers)
    return routes


def _lists(routes: APIRouter, view: View, answers: Answers) -> None:
    @routes.get(
        "",
        operation_id="listTasks",
        response_model=models.Page[models.TaskSummary],
        summary="Tasks, newest first or by due time",
    )
    async def tasks(request: Request, query: Annotated[TasksQuery, Query()]) -> Response:
        def make() -> status.Document:
            items, following = view.tasks(query)
            return {"items": items, "next": following}

        return answers.get(request, view.sequence(), make)


def _objects(routes: APIRouter, view: View, answers: Answers) -> None:
    missing = documented(404)

    @routes.get(
        TASK,
        operation_id="getTask",
        response_model=models.Task,
        responses=missing,
        summary="One task with its step tree",
    )
    async def task(request: Request, namespace: str, name: str, query: Annotated[RunQuery, Query()]) -> Response:
        def make() -> status.Document:
            found = view.task(namespace, name, query.run)
            return status.task(found, view.program(found.record), view.clock(), view.pins(found.record))

        return answers.get(request, view.sequence(), make)

    @routes.get(
        TASK + "/steps/{path}",
        operation_id="getStep",
        response_model=models.Step,
        responses=missing,
        summary="One step",
    )
    async def step(
        request: Request, namespace: str, name: str, path: str, query: Annotated[RunQuery, Query()]
    ) -> Response:
        return answers.get(request, view.sequence(), lambda: _step(view, view.task(namespace, name, query.run), path))

    @routes.get(
        TASK + "/document",
        operation_id="getTaskDocument",
        response_model=dict,
        responses=missing,
        summary="One task as the step/API engine of old showed it",
    )
    async def old(request: Request, namespace: str, name: str, query: Annotated[RunQuery, Query()]) -> Response:
        def make() -> status.Document:
            found = view.task(namespace, name, query.run)
            program = view.program(found.record)
            if program is None:
                raise HTTPException(404, "this task waits for its definition to be accepted and has no steps yet")
            return document(found, program, view.pins(found.record), view.clock())

        return answers.get(request, view.sequence(), make)


def _attempts(routes: APIRouter, view: View, answers: Answers) -> None:
    missing = documented(404)
    path = TASK + "/attempts"

    @routes.get(
        path,
        operation_id="listAttempts",
        response_model=models.Page[models.Attempt],
        responses=missing,
        summary="All attempts",
    )
    async def attempts(
        request: Request, namespace: str, name: str, query: Annotated[RunPageQuery, Query()]
    ) -> Response:
        def make() -> status.Document:
            record = view.task(namespace, name, query.run).record
            return _page(record, view.attempts(record.uid, None, query))

        return answers.get(request, view.sequence(), make)

    @routes.get(
        path + "/{path}",
        operation_id="listAttemptsOfStep",
        response_model=models.Page[models.Attempt],
        responses=missing,
        summary="The attempts at one step",
    )
    async def of_step(
        request: Request, namespace: str, name: str, path: str, query: Annotated[RunPageQuery, Query()]
    ) -> Response:
        def make() -> status.Document:
            record = view.task(namespace, name, query.run).record
            page = view.attempts(record.uid, path, query)
            if not page.items and query.cursor is None:
                raise HTTPException(404, f"there is no attempt at `{path}`")
            return _page(record, page)

        return answers.get(request, view.sequence(), make)

    @routes.get(
        path + "/{path}/{number}",
        operation_id="getAttempt",
        response_model=models.Attempt,
        responses=missing,
        summary="One attempt",
    )
    async def attempt(
        request: Request, namespace: str, name: str, path: str, number: Number, query: Annotated[RunQuery, Query()]
    ) -> Response:
        def make() -> status.Document:
            record = view.task(namespace, name, query.run).record
            found = view.attempt(record.uid, path, number)
            if found is None:
                raise HTTPException(404, f"there is no attempt {number} at `{path}`")
            return status.attempt(found, record.name)

        return answers.get(request, view.sequence(), make)


def _page(record: TaskRecord, page: Page[AttemptRecord]) -> status.Document:
    return {"items": [status.attempt(each, record.name) for each in page.items], "next": page.next}


def _step(view: View, found: TaskSnapshot, path: str) -> status.Document:
    program = view.program(found.record)
    try:
        return status.step_object(found, program, path, view.clock()) if program else _no_step(path)
    except KeyError:
        return _no_step(path)


def _no_step(path: str) -> NoReturn:
    raise HTTPException(404, f"the task has no step `{path}`")
