"""Calls for drivers under test, with a log that remembers and secrets in a dict."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.drivers.protocol import Call, Ended, LogSink, Observation
from reconciler.secrets.provider import SecretChain
from state.records import AttemptKey, Json, external_name

KEY = f"u1{os.environ.get('PYTEST_XDIST_WORKER', '')}/step1/-/1"
"""Another one in each worker: who ends a command ends all that carry its key, wherever on the machine they are."""


@dataclass
class Log:
    """A LogSink in memory."""

    pieces: list[tuple[str, bytes]] = field(default_factory=list)

    def write(self, data: bytes, stream: str = "stdout") -> None:
        self.pieces.append((stream, data))

    def bytes(self, stream: str | None = None) -> bytes:
        return b"".join(data for name, data in self.pieces if stream in {None, name})

    def text(self, stream: str | None = None) -> str:
        return self.bytes(stream).decode(errors="replace")


@dataclass(frozen=True)
class FixedSecrets:
    """A provider over a mapping of references."""

    values: Mapping[str, str]

    def get(self, reference: str) -> str | None:
        return self.values.get(reference)

    def describe(self, reference: str) -> str:
        return "the test's own"


def make_call(
    request: Mapping[str, Any],
    *,
    key: str = KEY,
    number: int = 1,
    secrets: Mapping[str, str] | None = None,
    references: Mapping[str, str] | None = None,
    log: LogSink | None = None,
    uses_result: bool = False,
    remaining: float | None = None,
) -> Call:
    """A call as dispatch would make it. `references`: JSON pointer -> reference, `secrets`: reference -> value."""
    block: dict[str, Json] = dict(request)
    return Call(
        key=AttemptKey(key),
        number=number,
        name=external_name(AttemptKey(key)),
        request=block,
        log=log or Log(),
        secrets=SecretChain([FixedSecrets(secrets or {})]),
        secret_references=references or {},
        uses_result=uses_result,
        remaining=remaining,
    )


def answered(seen: Observation) -> Any:
    """The result of work that ended."""
    assert isinstance(seen, Ended)
    return seen.result
