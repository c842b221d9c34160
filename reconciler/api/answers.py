"""JSON answers with an ETag, made once for everybody who asks the same in the same moment.

The tag is a digest of the body, so it changes when and only when the answer does: poll counts and waiting sentences
move without an event, and a tag made from event sequences would hide that.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from starlette.requests import Request
from starlette.responses import Response

FRESH_SECONDS = 0.25
"""How long an answer is reused while no event happens; what moves without an event is at most this old."""
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A body as bytes with its tag."""

    body: bytes
    tag: str


class Answers:
    """The answers of the last moment, by what was asked and the highest event sequence at that time."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[int, float, Answer]] = OrderedDict()

    def get(self, request: Request, sequence: int, make: Callable[[], Any]) -> Response:
        """The answer to `request`: the kept one if `sequence` is the same and it is fresh, else what `make` returns."""
        key = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
        kept, now = self._kept.get(key), self._clock()
        if kept and kept[0] == sequence and now < kept[1]:
            return respond(request.headers, kept[2])
        answer = encode(make())
        self._kept[key] = (sequence, now + FRESH_SECONDS, answer)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return respond(request.headers, answer)


def encode(value: Any) -> Answer:
    """`value` as compact UTF-8 JSON, with its tag; what JSON has no number for is null, half a character is `?`."""
    try:
        body = to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:  # a lone surrogate, which UTF-8 does not have
        body = to_json(_whole(value), inf_nan_mode="null")
    return Answer(body, f'"{blake2b(body, digest_size=12).hexdigest()}"')


def _whole(value: Any) -> Any:
    """The same with whole characters only, at any depth."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case Mapping():
            return {_whole(key): _whole(each) for key, each in value.items()}
        case list() | tuple():
            return [_whole(each) for each in value]
    return value


def respond(asked: Mapping[str, str], answer: Answer) -> Response:
    """The answer, or 304 where `asked` (the request's headers) says that it is already known."""
    headers = {"ETag": answer.tag, "Cache-Control": "no-cache"}
    known = asked.get("if-none-match", "")
    if known and (known.strip() == "*" or answer.tag in _tags(known)):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, headers=headers, media_type="application/json")


def _tags(header: str) -> set[str]:
    return {each.strip().removeprefix("W/") for each in header.split(",")}
