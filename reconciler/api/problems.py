"""Errors of the read side as `application/problem+json` (RFC 9457): what went wrong, in one sentence for people."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from state.errors import StateError
from state.pages import BadCursor

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """An error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str


def problem(status: int, detail: str, instance: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error answer; `instance` is the path that was asked for."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, instance=instance)
    text = json.dumps(body.model_dump(), ensure_ascii=False)
    return Response(text.encode("utf-8", "replace"), status, dict(headers or {}), media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says in the OpenAPI document about the errors it answers with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Answer every error of `app` in this form."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StateError, _state)
    app.add_exception_handler(BadCursor, _cursor)
    app.add_exception_handler(Exception, _unforeseen)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = error.detail
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET, HEAD"
        detail = "this API only reads; what should run is changed by a commit"
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "there is nothing at this path; /openapi.json lists what there is"
    return problem(error.status_code, detail, request.url.path, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, name = first["loc"][0], ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "extra_forbidden":
        return problem(400, f"unknown query parameter `{name}`", request.url.path)
    return problem(422, f"{where} parameter `{name}`: {first['msg']}", request.url.path)


async def _cursor(request: Request, error: Exception) -> Response:
    return problem(400, f"query parameter `cursor`: {error}", request.url.path)


async def _unforeseen(request: Request, error: Exception) -> Response:
    """The text of an unforeseen error may hold anything, so it goes to the log of this process and not to a client."""
    return problem(500, "the answer could not be made; the log of the API process says more", request.url.path)


async def _state(request: Request, error: Exception) -> Response:
    return problem(503, str(error), request.url.path, {"Retry-After": "1"})
