"""One simulated history as plain data: what is defined, what is committed when, and which faults may strike.

A case is made from a seed or read from the corpus, and is shrunk by leaving parts of it out; all parts are total, so
whatever is left still means something.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

FLAVOURS = ("get", "post", "verify", "exists", "idempotent", "process", "container")
"""How a piece of work reaches its target: what can be asked afterwards and what a second call would do."""

FAULTS = (
    "crash",
    "lost_request",
    "lost_reply",
    "duplicate_reply",
    "late_reply",
    "refused",
    "handle_lost",
    "stale_read",
    "wrong_exit_code",
    "target_restart",
    "disk_full",
    "clock_forward",
    "clock_back",
    "fetch_error",
    "second_controller",
    "slow_target",
    "result_too_big",
    "log_cut",
    "restore",
    "retention",
    "container_gone",
    "exit_code_late",
    "name_taken",
    "slow_stop",
    "force_push",
    "empty_tree",
    "bad_file",
)
"""The last three are commits; a case without them has none of their kind."""

KINDS = (
    *("add", "remove", "move", "change", "drift", "policy", "suspend", "resume", "revoke", "run", "revert"),
    *("force_push", "empty_tree", "bad_file", "bad_flow", "mend", "crowd", "disperse", "confirm", "confirm_few"),
    *("retry", "skip", "resolve", "approve", "until", "repin", "expect"),
    *("trigger_add", "trigger_remove", "trigger_change", "trigger_suspend", "trigger_resume"),
)
"""What people do."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one step or call does at its target, and how often it fails or is not ready first."""

    flavour: str
    fails: int = 0  # so many attempts fail
    polls: int = 1  # ready with this call
    seconds: float = 0.5
    retry: int | None = None
    timeout: int | None = None
    on_lost: str | None = None
    max_calls: int | None = None
    cancel: bool = False  # http only: the target can be told to stop
    limit: int | None = None  # concurrency
    shared: bool = False  # a Job of its own instead of an inline block
    group: str = ""  # of the limit; the job itself without one
    policy: str = "queue"  # what becomes of one too many
    targets: int = 1  # container only: so many are found to run in; 0, and each item of a list: a new one


@dataclass(frozen=True, slots=True)
class Step:
    """A step: work, several calls, another workflow, a wait, or an approval; of work also one for each item of a list."""

    name: str
    works: tuple[Work, ...]
    reads: tuple[str, ...] = ()  # steps whose output goes into the request
    needs: tuple[str, ...] = ()
    condition: str | None = None
    continue_on_error: bool = False
    timeout: int | None = None  # of a step with calls
    items: int | None = None  # of a list
    parallelism: int | None = None
    body: str = ""  # the workflow that it runs instead of its works
    pause: float | None = None  # seconds that it waits instead of its works
    approval: bool = False  # it waits for a commit instead of its works

    @property
    def works_itself(self) -> bool:
        """Whether it gives an output."""
        return self.pause is None and not self.approval


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow. `order` nests step names as `flow` does; empty: the references are the graph."""

    name: str
    steps: tuple[Step, ...]
    order: tuple[Any, ...] = ()
    timeout: int | None = None
    exit: Work | None = None  # what runs at the end
    limit: int | None = None  # runs at a time
    group: str = ""  # of the limit; the workflow itself without one
    policy: str = "queue"  # what becomes of one too many


@dataclass(frozen=True, slots=True)
class Schedule:
    """A trigger: at the times of `cron` in `zone`, at commits that change `path`, or (neither) at changed inputs."""

    name: str
    flow: str
    cron: str = ""
    zone: str = "UTC"
    path: str = ""
    missed: str = "latest"
    within: int | None = None
    overlap: str = "skip"


@dataclass(frozen=True, slots=True)
class Operation:
    """One commit (or force push) at a time; `value` says what kind needs to know."""

    at: float
    kind: str
    subject: str = ""
    value: str = ""
    seen: float = 0.0  # seconds before, when its author looked at what it is about


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that one run of the simulator depends on."""

    seed: int
    flows: tuple[Flow, ...]
    operations: tuple[Operation, ...]
    faults: frozenset[str] = frozenset()
    room: int | None = None  # calls at a time
    hold: bool = False  # cold start with --adopt hold
    crash_at: tuple[int, ...] = ()  # the numbers of the yield points at which the process dies
    note: str = ""
    schedules: tuple[Schedule, ...] = ()
    ahead: float = 0.0  # seconds by which the wall clock begins later than others'

    def __post_init__(self) -> None:
        """A word that means nothing would do nothing, and whatever it stood for would hold. Raises ValueError."""
        _require("faults", self.faults, FAULTS)
        _require("kinds of operations", (each.kind for each in self.operations), KINDS)
        works = (work for flow in self.flows for step in flow.steps for work in step.works)
        _require("flavours", (each.flavour for each in works), FLAVOURS)

    def to_json(self) -> str:
        """As a file of the corpus."""
        return json.dumps({**asdict(self), "faults": sorted(self.faults)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Case":
        """What `to_json` wrote."""
        value = json.loads(text)
        value["flows"] = tuple(_flow(each) for each in value["flows"])
        value["operations"] = tuple(Operation(**each) for each in value["operations"])
        value["schedules"] = tuple(Schedule(**each) for each in value.get("schedules", ()))
        return cls(**{**value, "faults": frozenset(value["faults"]), "crash_at": tuple(value["crash_at"])})


def _require(what: str, words: Iterable[str], known: Collection[str]) -> None:
    if unknown := sorted(set(words) - set(known)):
        raise ValueError(f"there are no such {what}: {', '.join(unknown)}")


def _flow(value: dict[str, Any]) -> Flow:
    steps = tuple(_step(each) for each in value["steps"])
    last = Work(**value["exit"]) if value.get("exit") else None
    return Flow(**{**value, "steps": steps, "order": _nested(value["order"]), "exit": last})


def _step(value: dict[str, Any]) -> Step:
    works = tuple(Work(**each) for each in value["works"])
    return Step(**{**value, "works": works, "reads": tuple(value["reads"]), "needs": tuple(value["needs"])})


def _nested(value: Any) -> Any:
    return tuple(_nested(each) for each in value) if isinstance(value, list) else value


def without(case: Case, **changes: Any) -> Case:
    """The case with some parts replaced."""
    return replace(case, **changes)
