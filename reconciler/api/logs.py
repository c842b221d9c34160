"""`…/log`: the output of an attempt as plain bytes, a range of it, its last lines, or followed until the attempt ends.

Logs are found by (uid, path, number) only, never by a file name from outside, and are sent so that no browser does
anything with them but show text.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response, StreamingResponse

from reconciler.api.inert import inert_bytes
from reconciler.api.problems import documented
from reconciler.api.queries import LogQuery
from reconciler.api.stream import follows, server_sent
from reconciler.api.view import View
from state.logs import AttemptLog
from state.records import AttemptRecord, TaskRecord, TaskSnapshot

LOOK_SECONDS = 0.2
CHUNK = 64 * 1024
TAIL_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
    "Accept-Ranges": "bytes",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from `start` up to `end`, which is not part of it."""

    start: int
    end: int


def router(view: View) -> APIRouter:
    """The route over one state folder."""
    routes = APIRouter(prefix="/api/v1/tasks", tags=["tasks"], responses=documented(400, 401, 403, 404, 422, 503))

    @routes.get(
        "/{namespace}/{name}/log",
        operation_id="getLog",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            206: {"description": "Partial Content", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **documented(416),
        },
        summary="The log of an attempt: whole, a range, its last lines, or followed",
    )
    async def log(request: Request, namespace: str, name: str, query: Annotated[LogQuery, Query()]) -> Response:
        task = view.task(namespace, name, query.run)
        attempt = chosen(view, task, query.step, query.attempt)
        headers = _HEADERS | {"Content-Location": address(task.record, attempt)}
        opened = view.log(attempt)
        if follows(request, asked=query.follow):
            return _following(request, view, attempt, opened, query, headers)
        return _part(request.headers.get("range"), opened, query, headers)

    return routes


def chosen(view: View, task: TaskSnapshot, step: str | None, number: int | None) -> AttemptRecord:
    """The attempt that is meant: at `step` (or at the calls in it), or in the whole task, the one begun last; 404 if none."""
    below = [each for each in task.attempts.values() if step is None or f"{each.path}.".startswith(f"{step}.")]
    if not below:
        raise HTTPException(404, "there was no attempt yet, so there is no log")
    latest = max(below, key=lambda each: (each.started_at.timestamp() if each.started_at else 0, each.path))
    found = view.attempt(task.record.uid, latest.path, number)
    if found is None:
        raise HTTPException(404, f"there is no attempt {number} at `{latest.path}`")
    return found


def address(record: TaskRecord, attempt: AttemptRecord) -> str:
    """The path of the log of exactly this attempt."""
    query = urlencode({"run": record.run, "step": attempt.path, "attempt": attempt.number})
    return f"/api/v1/tasks/{quote(record.namespace, safe='')}/{quote(record.name, safe='')}/log?{query}"


def last_lines(log: AttemptLog, number: int) -> bytes:
    """The last `number` lines, as far as they lie in the last 1 MiB."""
    start = max(0, log.size - TAIL_BYTES)
    data = log.read(start, log.size - start)
    return b"".join(data.splitlines(keepends=True)[-number:])


def asked_part(header: str | None, query: LogQuery, size: int) -> Part | None:
    """The part that a Range header or `offset` and `limit` name, None for the whole; 416 for one that does not exist."""
    if query.offset is not None or query.limit is not None:
        start = min(query.offset or 0, size)
        return Part(start, min(size, start + (size if query.limit is None else query.limit)))
    match = _RANGE.fullmatch(header or "")
    if match is None or not any(match.groups()):
        return None  # several ranges or another unit: the whole is an allowed answer
    first, last = match.groups()
    if not first:
        return Part(max(0, size - int(last)), size)
    part = Part(int(first), min(size, int(last) + 1) if last else size)
    if part.start >= size or part.end <= part.start:
        raise HTTPException(416, "the log has no such bytes", {"Content-Range": f"bytes */{size}"})
    return part


def _part(header: str | None, log: AttemptLog, query: LogQuery, headers: dict[str, str]) -> Response:
    if query.tail is not None:
        return Response(last_lines(log, query.tail), headers=headers, media_type="text/plain; charset=utf-8")
    size = log.size
    part = asked_part(header, query, size)
    if part is None:
        return Response(log.read(0, size), headers=headers, media_type="text/plain; charset=utf-8")
    span = f"bytes {part.start}-{part.end - 1}/{size}" if part.end > part.start else f"bytes */{size}"
    status = 206 if header and query.offset is None and query.limit is None else 200
    body = log.read(part.start, part.end - part.start)
    return Response(body, status, headers | {"Content-Range": span}, media_type="text/plain; charset=utf-8")


def _following(
    request: Request,
    view: View,
    attempt: AttemptRecord,
    log: AttemptLog,
    query: LogQuery,
    headers: dict[str, str],
) -> Response:
    last = request.headers.get("last-event-id", "")
    start = int(last) if last.isdecimal() and len(last) < 18 else query.offset or 0
    if query.tail is not None:
        start = max(start, log.written - len(last_lines(log, query.tail)))
    as_events = "text/event-stream" in request.headers.get("accept", "")
    media = "text/event-stream" if as_events else "text/plain; charset=utf-8"
    pieces = _none() if request.scope.get("head") else followed(view, attempt, log, start)
    return StreamingResponse(_events(pieces) if as_events else _plain(pieces), headers=headers, media_type=media)


async def followed(
    view: View, attempt: AttemptRecord, log: AttemptLog, start: int, look: float = LOOK_SECONDS
) -> AsyncIterator[tuple[int, bytes]]:
    """(place in the whole output after it, bytes) as they come, until the attempt has ended and everything was sent."""
    while True:
        now = view.attempt(attempt.uid, attempt.path, attempt.number)
        ended = now is None or now.ended  # asked first: what was written before the end is then there to read
        part = log.part(start, CHUNK)
        if part.end > start:
            start = part.end
            yield start, part.data
        elif ended:
            return
        else:
            await asyncio.sleep(look)


async def _none() -> AsyncIterator[tuple[int, bytes]]:
    nothing: tuple[tuple[int, bytes], ...] = ()
    for each in nothing:
        yield each


async def _plain(pieces: AsyncIterator[tuple[int, bytes]]) -> AsyncIterator[bytes]:
    async for _, data in pieces:
        yield data


async def _events(pieces: AsyncIterator[tuple[int, bytes]]) -> AsyncIterator[bytes]:
    async for end, data in pieces:
        yield server_sent("log", {"end": end, "text": inert_bytes(data)}, end)
    yield b"event: end\ndata: {}\n\n"
