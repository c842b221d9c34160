"""`/api/v1/triggers`: what makes tasks come to be, when it fired last, and when it fires next."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from reconciler import status
from reconciler.api import models, trigger_models
from reconciler.api.answers import Answers
from reconciler.api.problems import documented
from reconciler.api.queries import NoQuery, TriggersQuery
from reconciler.api.view import View


def router(view: View, answers: Answers) -> APIRouter:
    """The routes of triggers over one state folder."""
    routes = APIRouter(prefix="/api/v1/triggers", tags=["triggers"], responses=documented(400, 401, 403, 422, 503))

    @routes.get(
        "",
        operation_id="listTriggers",
        response_model=models.Page[trigger_models.Trigger],
        summary="Triggers in force, with their last and next times",
    )
    async def triggers(request: Request, query: Annotated[TriggersQuery, Query()]) -> Response:
        def make() -> status.Document:
            items, after = view.triggers(query)
            return {"items": items, "next": after}

        return answers.get(request, view.sequence(), make)

    @routes.get(
        "/{namespace}/{name}",
        operation_id="getTrigger",
        response_model=trigger_models.Trigger,
        responses=documented(404),
        summary="One trigger",
    )
    async def trigger(request: Request, namespace: str, name: str, query: Annotated[NoQuery, Query()]) -> Response:
        return answers.get(request, view.sequence(), lambda: view.trigger(namespace, name))

    return routes
