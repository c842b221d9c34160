"""`/api/v1/{sources,definitions,revisions}`: what should run, where it comes from and what is wrong with it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from reconciler import status
from reconciler.api import definition_models
from reconciler.api.answers import Answers
from reconciler.api.models import Page
from reconciler.api.problems import documented
from reconciler.api.queries import DefinitionsQuery, NoQuery, PageQuery
from reconciler.api.view import View


def router(view: View, answers: Answers) -> APIRouter:
    """The routes over one state folder."""
    routes = APIRouter(prefix="/api/v1", tags=["definitions"], responses=documented(400, 401, 403, 422, 503))

    @routes.get(
        "/sources",
        operation_id="listSources",
        response_model=Page[definition_models.Source],
        summary="Sources and their conditions",
    )
    async def sources(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        def make() -> status.Document:
            return {"items": [status.source(each) for each in view.sources()], "next": None}

        return answers.get(request, view.sequence(), make)

    @routes.get(
        "/definitions",
        operation_id="listDefinitions",
        response_model=Page[definition_models.Definition],
        summary="Definitions, also the rejected ones with their problems",
    )
    async def definitions(request: Request, query: Annotated[DefinitionsQuery, Query()]) -> Response:
        def make() -> status.Document:
            page = view.definitions(query)
            return {"items": [status.definition(each) for each in page.items], "next": page.next}

        return answers.get(request, view.sequence(), make)

    @routes.get(
        "/revisions",
        operation_id="listRevisions",
        response_model=Page[definition_models.Revision],
        summary="Activated revisions",
    )
    async def revisions(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
        def make() -> status.Document:
            page = view.revisions(query)
            return {"items": [status.revision(each) for each in page.items], "next": page.next}

        return answers.get(request, view.sequence(), make)

    return routes
