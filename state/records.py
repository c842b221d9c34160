"""What the store remembers, as frozen values: the loop plans on them, the store writes them, the reader returns them.

Times are aware UTC datetimes, JSON values are plain Python values, and a definition appears only as the digest of a Pin.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from state.phases import (
    ACTIVE_STEPS,
    ENDED_ATTEMPTS,
    LIVE_TASKS,
    STARTING_TASKS,
    AttemptPhase,
    StepPhase,
    TaskPhase,
    TriggerPhase,
)
from state.room import QUEUED_FOR_GROUP, Line, Usage

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Uid = NewType("Uid", str)
AttemptKey = NewType("AttemptKey", str)
Identity = tuple[str, str]
"""(namespace, name) of a task: what a file says it is."""

NOTHING: Mapping[str, Json] = {}
EXIT = "onExit"  # the path of the step that always runs at the end of a task
RESTORED_OLDER = "RestoredOlder"
"""The reason of what waits because the database may be older than what has run."""


def task_uid(source: str, namespace: str, name: str, run: int) -> Uid:
    """The identity of one run, the same after a move of its file or a restore of the database (recovery.md 2.1)."""
    text = "\0".join((source, namespace, name, str(run)))
    return Uid(hashlib.sha256(text.encode()).hexdigest()[:32])


def attempt_key(uid: Uid, path: str, number: int) -> AttemptKey:
    """`<uid>/<step path>/<item>/<attempt>`; an item is the last, numeric part of its path, `-` where there is none."""
    step, _, item = path.rpartition(".")
    where = f"{step}/{item}" if step and item.isdigit() else f"{path}/-"
    return AttemptKey(f"{uid}/{where}/{number}")


def external_name(key: AttemptKey) -> str:
    """The name of an attempt at its target: 29 characters that fit a container, a Job, a pod and a label."""
    return "rc-" + base64.b32encode(hashlib.sha256(key.encode()).digest()).decode().lower()[:26]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a state changed: what kind of thing asked for it, which one, and who stands behind it."""

    kind: str  # commit | observation | timer | plan | recovery | operator | trigger
    reference: str = ""  # a commit, a call key, a request file
    author: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which bytes a task or definition comes from."""

    commit: str = ""
    path: str = ""
    blob: str = ""
    author: str = ""
    email: str = ""
    subject: str = ""
    signer: str = ""
    committer: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """A definition as it was when a task was admitted: canonical JSON text, never parsed in this package."""

    kind: str
    namespace: str
    name: str
    digest: str  # sha256 of text, hex
    text: str
    commit: str
    path: str

    @property
    def intact(self) -> bool:
        """Whether the text is still the one that was pinned."""
        return hashlib.sha256(self.text.encode()).hexdigest() == self.digest


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One run of one task."""

    uid: Uid
    source: str
    namespace: str
    name: str
    run: int
    kind: str  # Workflow | Job: what it runs
    target: str  # its name
    origin: Origin
    digest: str  # of the task document in force, control included: tells whether the file says something new
    spec_digest: str  # of the admitted spec: a difference is SpecDrift
    pins: tuple[str, ...]  # digests; the target's own pin first
    params: Mapping[str, Json]
    created_at: datetime
    phase: TaskPhase = TaskPhase.CREATED
    number: int = 0  # the integer alias that old clients know; given by the store at admission
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    control: Mapping[str, Json] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)  # condition -> message, e.g. SpecDrift
    delete_policy: str = "finish"
    reason: str = ""
    message: str = ""
    outputs: Json = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expected_finish: datetime | None = None
    deadline: datetime | None = None  # of the whole task
    held: str = ""  # why a person has to decide before it goes on: its rows may be older than what has run
    restored: bool = False  # they may be, held or not: a call is looked for at its target before it is made
    trigger: str = ""  # the name of the trigger in its namespace that made it; "" for a task with a file of its own
    behind: str = ""  # the name of the run of its trigger whose end it waits for
    group: str = ""  # the concurrency group of its workflow; "" without a rule
    entered: bool = False  # it has its place in the group: from its begin to its end, and as long as that is unknown
    repinned: str = ""  # the commit, as its file names it, whose definitions it continues with
    dismissed: Mapping[str, Json] = field(default_factory=dict)  # of `control`: what does not count, whatever comes
    asked: Mapping[str, Cause] = field(default_factory=dict)  # by part of the control: who asked for it, see asking.py

    @property
    def identity(self) -> Identity:
        return (self.namespace, self.name)

    @property
    def live(self) -> bool:
        return self.phase in LIVE_TASKS

    @property
    def in_line(self) -> bool:
        """It may begin as soon as its group has a place for it."""
        free = self.phase in STARTING_TASKS and not (self.held or self.behind)
        return bool(self.group) and not self.entered and free


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step, call or item of a task that something has happened to. `path` joins the keys with dots."""

    uid: Uid
    path: str
    phase: StepPhase = StepPhase.WAITING
    reason: str = ""
    message: str = ""
    outputs: Json = None
    attempt: int = 0  # number of the latest attempt
    failures: int = 0  # failed attempts that count against the retry limit
    wake_at: datetime | None = None  # when the next attempt is due, or a wait is over
    started_at: datetime | None = None
    finished_at: datetime | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)  # kept when it began: its `items`, `params` or `state`
    group: str = ""  # the concurrency group that it stands in line for or has its place in
    lost: tuple[int, ...] = ()  # attempts of unknown end that another one followed by itself, the last hundred

    @property
    def holds(self) -> bool:
        """It has its place in its group: it is a workflow of its own that has begun, or was lost with a step of it."""
        runs = self.phase is StepPhase.RUNNING and self.reason != QUEUED_FOR_GROUP
        return bool(self.group) and (runs or (self.phase is StepPhase.LOST and not self.attempt))

    @property
    def keeps(self) -> bool:
        """Its attempt, of which nobody knows how it ended, keeps its place in its group."""
        return bool(self.group) and self.phase is StepPhase.LOST and self.attempt > 0


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a step: intent, handle, calls and outcome. Poll n is in flight while `call > answered`."""

    uid: Uid
    path: str
    number: int
    key: AttemptKey
    name: str  # external_name(key)
    namespace: str
    driver: str
    job: str  # the concurrency group: the job, or the inline step of its workflow, unless a rule names another
    request: Mapping[str, Json]  # the resolved driver block; a secret stands there as "***"
    secrets: Mapping[str, str]  # JSON pointer into request -> secret reference
    epoch: int  # of the controller that made the intent
    phase: AttemptPhase = AttemptPhase.INTENT
    call: int = 1  # the call last intended
    answered: int = 0  # the call last answered
    resends: int = 0  # of the current call, after a lost reply
    handle: Json = None  # what the target calls it
    answer: Json = None  # the last answer, success or not
    outputs: Json = None
    code: int | None = None  # exit code or HTTP status
    message: str = ""
    wake_at: datetime | None = None  # the next poll or look
    deadline: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cleanup: bool = False  # the target still holds something that may go once the result is committed

    @property
    def ended(self) -> bool:
        return self.phase in ENDED_ATTEMPTS

    @property
    def in_flight(self) -> bool:
        """A call has been intended whose answer is not recorded."""
        return not self.ended and self.call > self.answered

    @property
    def busy(self) -> bool:
        """It takes up room at its target; an attempt that only waits for its next poll does not."""
        return not self.ended and (self.phase is not AttemptPhase.POLLING or self.call > self.answered)


@dataclass(frozen=True, slots=True)
class TriggerRecord:
    """How a trigger stands, and up to where it has been decided what fires and what is skipped."""

    uid: Uid
    source: str
    namespace: str
    name: str
    origin: Origin  # of its file as it is
    digest: str  # of the document in force
    schedule: str  # when it fires, in words of its file: with another schedule it begins anew
    phase: TriggerPhase
    since: datetime  # nothing before fires
    decided: datetime  # every time up to this one fired or was skipped
    seen: str = ""  # the commit (onCommit) or the digest of the inputs (onChange) that was decided last
    wake_at: datetime | None = None  # its next time; None if it waits for none
    reason: str = ""  # why it does not fire
    message: str = ""

    @property
    def identity(self) -> Identity:
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Event:
    """One state change. The hash covers the previous hash of the same task, so history cannot be edited unseen."""

    uid: Uid
    at: datetime
    subject: str  # task | step | attempt | trigger
    path: str  # of a step; the slot of a trigger
    attempt: int
    before: str
    after: str
    reason: str
    message: str
    cause: Cause
    sequence: int = 0  # over everything; given by the store
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stays of a run for ever: that it was, where it came from and the last hash of its events."""

    uid: Uid
    namespace: str
    name: str
    run: int
    commit: str
    phase: TaskPhase
    last_hash: str
    at: datetime
    source: str = ""
    number: int = 0  # the alias that the run had, which nobody else gets


@dataclass(frozen=True, slots=True)
class DefinitionRecord:
    """One document of the active revision as the read side shows it, accepted or not."""

    path: str
    index: int  # of the document in its file
    blob: str
    commit: str  # that brought these bytes
    kind: str  # "" where the bytes do not even say that
    namespace: str
    name: str
    digest: str  # of the canonical text; "" when rejected and nothing is in force
    text: str  # canonical JSON in force, which for a rejected file is its last good version
    accepted: bool
    problems: tuple[Mapping[str, Json], ...] = ()
    source: str = ""  # given by the store


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """How a source stands: its active revision and the conditions that keep a newer one out."""

    name: str
    location: str
    ref: str
    path: str
    commit: str = ""
    author: str = ""
    email: str = ""
    subject: str = ""
    committed_at: datetime | None = None
    activated_at: datetime | None = None
    observed_at: datetime | None = None
    conditions: tuple[Mapping[str, str], ...] = ()  # {type, status, reason, message}


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """A revision that was in force, and from when."""

    number: int
    source: str
    commit: str
    author: str
    email: str
    subject: str
    committed_at: datetime | None
    activated_at: datetime | None


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """One task whole: its record, its step rows by path and the latest attempt of each path.

    `lines` is for readers of one task only: what stands before it (path "") and before its steps that stand in line.
    """

    record: TaskRecord
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    attempts: Mapping[str, AttemptRecord] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)

    def _waits_for_time(self, step: StepRecord) -> bool:
        """Whether the time of a step counts now; what runs at the end also goes on where nothing else may start."""
        if step.phase is StepPhase.RETRYING:
            return self.record.phase in STARTING_TASKS or (self.record.live and _at_the_end(step.path))
        return step.phase is StepPhase.RUNNING and self.record.live

    def _ended_by_time(self, unfinished: Iterable[AttemptRecord]) -> bool:
        """Whether the time of the task still ends something: not what is being stopped, nor what runs at its end."""
        moving = {path for path, step in self.steps.items() if step.phase in ACTIVE_STEPS}
        stopping = {each.path for each in unfinished if each.phase is AttemptPhase.CANCELLING}
        under_way = (moving | stopping) - {path.rpartition(".")[0] for path in moving}
        return not under_way or any(path not in stopping and not _at_the_end(path) for path in under_way)

    @property
    def wake_at(self) -> datetime | None:
        """When time alone gives the planner something to do here.

        A task that may start nothing waits for no retry, and what is being stopped has no deadline to wait for. Of a
        held task only what runs at a target is looked at.
        """
        unfinished = [each for each in self.attempts.values() if not each.ended]
        if self.record.held:
            looks = (each.wake_at for each in unfinished if each.phase is AttemptPhase.STARTED and not each.in_flight)
            return min((time for time in looks if time), default=None)
        times = [each.wake_at for each in unfinished]
        times += [each.deadline for each in unfinished if each.phase is not AttemptPhase.CANCELLING]
        times += [step.wake_at for step in self.steps.values() if step.wake_at and self._waits_for_time(step)]
        live = self.record.live and not self.record.in_line  # in line no time of it has begun
        if self.record.deadline and live and self._ended_by_time(unfinished):
            times.append(self.record.deadline)
        if self.record.phase is TaskPhase.SUSPENDED and isinstance(until := self.record.control.get("until"), str):
            times.append(datetime.fromisoformat(until))
        return min((time for time in times if time), default=None)


def _at_the_end(path: str) -> bool:
    return EXIT in path.split(".")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent slice of what has run: these tasks whole, what became of these identities, and the usage of all."""

    tasks: Mapping[Uid, TaskSnapshot] = field(default_factory=dict)
    runs: Mapping[Identity, tuple[Tombstone, ...]] = field(default_factory=dict)  # runs whose rows are gone
    usage: Usage = field(default_factory=Usage)
    epoch: int = 0
    triggers: Mapping[Uid, TriggerRecord] = field(default_factory=dict)
