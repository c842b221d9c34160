"""What every driver is: five methods in one order, and the five things that an observation can say.

A driver touches its target and nothing else. It never decides whether to try again, never writes state, and answers
with an Observation for everything that can happen at a target, so that the decision stays in one pure place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from state.records import AttemptKey, Json


class LogSink(Protocol):
    """Where an attempt's output goes: bounded, append-only, never an error for the work itself."""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Append bytes of `stdout`, `stderr` or `driver` (what the driver itself has to say)."""


class Secrets(Protocol):
    """Turns references into values, at dispatch only."""

    def resolve(self, reference: str) -> str:
        """The value behind `provider-path/key`; raises SecretUnavailable, whose text never holds a value."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one attempt, everything resolved but the secrets."""

    key: AttemptKey
    number: int  # n of `<attempt key>/<n>`
    name: str  # the external name, deterministic: what to create, look up and adopt
    request: Mapping[str, Json]  # the driver block; a secret stands there as "***"
    log: LogSink
    secrets: Secrets
    secret_references: Mapping[str, str] = field(default_factory=dict)  # JSON pointer into request -> reference
    labels: Mapping[str, str] = field(default_factory=dict)  # reconciler.dev/…: task, step, attempt, epoch
    uses_result: bool = False  # an expression reads `result`, so an answer that is not JSON is a failed call
    remaining: float | None = None  # seconds until the attempt's deadline
    resend: bool = False  # the same call again under the same key, after a lost reply

    @property
    def call_key(self) -> str:
        """The idempotency key of this call."""
        return f"{self.key}/{self.number}"


@dataclass(frozen=True, slots=True)
class Running:
    """The target works on it. `look_again`: seconds until asking again is worth it."""

    handle: Json
    look_again: float = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The target says that it ended, and how: the only evidence for success."""

    succeeded: bool
    result: Json = None
    code: int | None = None  # exit code or HTTP status
    message: str = ""
    handle: Json = None
    cleanup: bool = False  # the target still holds something that `clean` removes
    cancelled: bool = False  # it ended because it was told to
    timed_out: bool = False
    repeatable: bool = True  # False: another attempt cannot help (policy, a request that cannot be built)


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Proof that nothing happened at the target: the same call may be sent again, or counts as failed."""

    proof: str
    refused: bool = False  # the target could not be reached now (a failed call), not merely never asked
    unrecorded: bool = False  # the proof is that our rows hold no handle: none at all in a database that may be older


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say what became of it. `evidence` is what is known, for a person."""

    evidence: str


@dataclass(frozen=True, slots=True)
class NoNews:
    """Who could tell cannot be asked now: all that was known still is, and nothing more. `look_again`: as of Running."""

    why: str
    look_again: float = 10.0


Observation = Running | Ended | NotStarted | Unknown | NoNews


class Driver(Protocol):
    """A way to reach targets. Instances are shared by all calls of one controller; methods may run concurrently."""

    async def prepare(self, call: Call) -> Json:
        """Make it without starting it; what is returned (not None) is committed as the handle before `start`."""

    async def start(self, call: Call, handle: Json) -> Observation:
        """Start it. Called again under the same key only where the target deduplicates, or after NotStarted."""

    async def observe(self, call: Call, handle: Json) -> Observation:
        """What became of it; repeatable, without effect. Without a handle, look it up by name or key."""

    async def cancel(self, call: Call, handle: Json) -> Observation:
        """End it. A result that was faster wins; Unknown names what may still run."""

    async def clean(self, call: Call, handle: Json) -> None:
        """Remove what is left of it at the target; called after the result is committed. Not there is success."""

    async def close(self) -> None:
        """Let go of connections and threads; work at targets goes on."""
