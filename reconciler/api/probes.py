"""`/healthz`, `/readyz` and `/metrics`: whether the process is there, whether the controller works, and how much.

The API process cannot see the controller, only its files: it touches `<state>/heartbeat` every 5 seconds, so a loop
that hangs is seen here although its process lives.
"""

import json
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from reconciler.api.metrics import CONTENT_TYPE, exposition
from reconciler.api.models import ReadyAnswer
from reconciler.api.problems import documented, problem
from reconciler.api.queries import NoQuery
from reconciler.api.view import View
from state.errors import StateError

HEARTBEAT_LIMIT = 15.0


def router(view: View) -> APIRouter:
    """The probes of one state folder; the first two need no token."""
    routes = APIRouter(tags=["probes"], responses=documented(400))

    @routes.get("/healthz", operation_id="isAlive", response_model=ReadyAnswer, summary="This process answers")
    async def healthz(query: Annotated[NoQuery, Query()]) -> Response:
        return _said("the API process answers", "")

    @routes.get(
        "/readyz",
        operation_id="isReady",
        response_model=ReadyAnswer,
        responses=documented(503),
        summary="The controller is alive and the database readable",
    )
    async def readyz(query: Annotated[NoQuery, Query()]) -> Response:
        reason = not_ready(view)
        closed = view.closed()
        stopped = f"; it makes no new call: {closed}" if closed else ""
        alive = f"the controller is alive and the database readable{stopped}"
        return problem(503, reason, "/readyz") if reason else _said(alive, closed)

    @routes.get(
        "/metrics",
        operation_id="getMetrics",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **documented(401, 403),
        },
        summary="Prometheus metrics",
    )
    async def metrics(query: Annotated[NoQuery, Query()]) -> Response:
        return Response(exposition(view), headers={"Content-Type": CONTENT_TYPE})

    return routes


def not_ready(view: View) -> str:
    """Why the controller behind this API does not work now; empty if it does."""
    age = view.heartbeat_age()
    if age is None:
        return "no controller has run in this state folder"
    if age > HEARTBEAT_LIMIT:
        return f"the controller has not been heard of for {age:.0f} s"
    try:
        view.sequence()
    except StateError as error:
        return str(error)
    return ""


def notice(view: View) -> str:
    """What a reader has to know before anything else: the controller is not there, or calls nothing; "" if all is well."""
    age = view.heartbeat_age()
    if age is not None and age > HEARTBEAT_LIMIT:
        return f"the controller has not been heard of for {age:.0f} s: this is how it stood"
    closed = view.closed() if age is not None else ""
    return f"the controller makes no new call: {closed}" if closed else ""


def _said(reason: str, closed: str) -> Response:
    return Response(json.dumps({"ready": True, "reason": reason, "closed": closed}), media_type="application/json")
