"""The read side as one ASGI application over one state folder."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from reconciler.api import catalog, logs, native, probes, problems, stream, triggers
from reconciler.api.answers import Answers
from reconciler.api.gate import Gate
from reconciler.api.pages import routes as pages
from reconciler.api.view import View

DESCRIPTION = """Read-only: what should run is a file in Git, and every change of it is a commit.

Lists are `{items, next}`; objects have the form of the files, `{apiVersion, kind, metadata, spec, status}`; errors are
`application/problem+json`. Every answer has an ETag: send it back in `If-None-Match`. HEAD works wherever GET does."""


def utc_now() -> datetime:
    """The time; everything below takes it as an argument."""
    return datetime.now(UTC)


def create(state: Path, *, token: str | None = None, clock: Callable[[], datetime] = utc_now) -> FastAPI:
    """The application that reads the state folder `state`, which need not exist yet.

    With `token` every request but `/healthz` and `/readyz` must carry it; without one only requests that name this
    machine in their Host header are answered, so it must listen on loopback.
    """
    view, answers = View(state, clock), Answers()
    app = FastAPI(title="reconciler", version="v1", description=DESCRIPTION, docs_url=None, redoc_url=None)
    problems.install(app)
    for router in (
        native.router(view, answers),
        logs.router(view),
        stream.router(view, answers),
        catalog.router(view, answers),
        triggers.router(view, answers),
        probes.router(view),
        pages.router(view),
    ):
        app.include_router(router)
    app.add_middleware(Gate, token=token)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Replace FastAPI's own form of validation errors in the OpenAPI document by the one that is answered."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = made["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas["Problem"] = problems.Problem.model_json_schema()
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
