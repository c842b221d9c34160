"""The world behind the drivers: it keeps the truth about every call, whatever controllers believe.

`executions` counts how often each call was really acted on, `said` what the target answered about it; the oracle
compares both with what the store records.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from reconciler.drivers.protocol import Call
from state.records import AttemptRecord


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a request asks its target to do (see `documents`)."""

    fails: int
    polls: int
    seconds: float


@dataclass(slots=True)
class Execution:
    """One piece of work as it really is. `ends` None: nobody will ever know how it ended."""

    key: str
    attempt: str
    flavour: str
    began: float
    ends: float | None
    ok: bool
    code: int
    result: Any
    cancelled: bool = False
    dies: float | None = None  # when it ends because it was told to, unless it was over before

    def running(self, now: float) -> bool:
        """Whether it still works."""
        if self.dies is not None and self.ends is not None and self.dies <= min(now, self.ends):
            self.cancelled = True
        return not self.cancelled and self.ends is not None and now < self.ends

    def done(self, now: float) -> bool:
        """Whether it has ended and says how."""
        return not self.unknown and not self.running(now)

    @property
    def unknown(self) -> bool:
        return self.ends is None


@dataclass
class Target:
    """Everything that was ever acted on. `objects` are what processes and new containers leave until they are cleaned."""

    executions: Counter[str] = field(default_factory=Counter)
    work: dict[str, Execution] = field(default_factory=dict)
    said: dict[str, list[tuple[bool, Any]]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)  # fenced before they began
    made: dict[str, "Execution | None"] = field(default_factory=dict)  # handle -> what was started under it
    objects: dict[str, str] = field(default_factory=dict)  # call key -> attempt key
    cleaned: set[str] = field(default_factory=set)  # attempts whose processes were cleaned up: a mark is left of each
    handles: int = 0
    boxes: dict[str, str] = field(default_factory=dict)  # name -> call key: new containers until they are removed
    strangers: set[str] = field(default_factory=set)  # names that somebody else's containers have

    def act(self, call: Call, now: float, *, slow: float = 0.0, wrong: bool = False, big: bool = False) -> Execution:
        """Do what the call asks for."""
        key, flavour, behaviour = call.call_key, flavour_of(call), behaviour_of(call)
        number = int(call.key.rpartition("/")[2])
        ok = number > behaviour.fails and not wrong
        value = f"{key}{'x' * 5000}" if big else key
        result = {"ready": call.number >= behaviour.polls, "value": value}
        self.executions[key] += 1
        seconds = behaviour.seconds + slow
        made = Execution(key, call.key, flavour, now, now + seconds, ok, 200 if ok else 500, result)
        self.work[key] = made
        if flavour in {"process", "container"}:
            made.code = 0 if ok else 1
        if flavour == "process" or "run" in call.request:
            self.objects[key] = call.key
        return made

    def say(self, execution: Execution) -> tuple[bool, Any]:
        """The target's word about work that ended."""
        word = (execution.ok and not execution.cancelled, execution.result)
        self.said.setdefault(execution.key, []).append(word)
        return word

    def restart(self, now: float) -> bool:
        """The machine goes down and comes up: what ran is gone without a word, but for containers of their own, which tell.

        Whether a container was there.
        """
        found = bool(self.made)
        for each in self.work.values():
            if each.flavour in {"process", "container"} and each.running(now):
                if each.key in self.boxes.values():
                    each.ends, each.ok, each.code, found = now, False, 137, True
                else:
                    each.ends = None
        self.made.clear()
        return found


def flavour_of(call: Call) -> str:
    """How the call reaches its target."""
    request: Any = call.request
    if "command" in request:
        return "process"
    if "exec" in request:
        return "container" if "target" in request else "find"
    return "container" if "run" in request else str(request["url"]).rpartition("/")[2]


def flavour_of_attempt(attempt: AttemptRecord) -> str:
    """The same of what is recorded: how the attempt reaches its target."""
    request: Any = attempt.request
    if attempt.driver != "http":
        return "find" if "exec" in request and "target" not in request else attempt.driver
    return str(request["url"]).rpartition("/")[2]


def behaviour_of(call: Call) -> Behaviour:
    """What the request asks for."""
    words = words_of(call)
    return Behaviour(int(words["fails"]), int(words["polls"]), float(words["seconds"]))


def words_of(call: Call) -> dict[str, str]:
    """The words of the request by name."""
    request: Any = call.request
    if "query" in request:
        return {name: str(value) for name, value in request["query"].items()}
    words = request.get("command") or request.get("exec") or request["run"]["command"]
    return dict(word.partition("=")[::2] for word in words[1:])
