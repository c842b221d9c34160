"""The judge of a history: after every commit, every request and at the end, what must hold (recovery.md 3.1).

It knows the truth of the targets and remembers what was ever committed; it never asks the planner what is right.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from definitions.desired import Complete
from reconciler.drivers.protocol import Call
from reconciler.position import Position, locate
from state.changes import Activated, Admitted, Change, Controlled, Intended, Repinned, Retired, StepAdvanced
from state.inspection import inspect
from state.pages import LIMIT
from state.phases import ENDED_ATTEMPTS, ENDED_STEPS, AttemptPhase, StepPhase, TaskPhase
from state.places import uncertain
from state.reader import Reader
from state.records import AttemptRecord, StepRecord, TaskSnapshot, Uid, attempt_key
from state.store import Committed
from tests.simulation.authority import Authority, answered_by, repinned_wrongly, uncommitted
from tests.simulation.decisions import crowded, decided_wrongly
from tests.simulation.evidence import unproven, value_of
from tests.simulation.firings import Around, Firings
from tests.simulation.lines import entered_wrongly
from tests.simulation.obedience import begins_against_its_word, disobedient, unheard
from tests.simulation.reached import in_change, in_task
from tests.simulation.removal import Removals
from tests.simulation.rest import may_rest
from tests.simulation.restored import NOTHING, Kept, Past
from tests.simulation.target import flavour_of, flavour_of_attempt, words_of
from tests.simulation.tries import Tries

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

DEDUPLICATING = frozenset({"get", "idempotent", "exists", "find"})
PROVABLE = frozenset({"process", "container", "verify"})
"""Flavours whose outcome a mere crash never makes unknown."""
HARMLESS = frozenset(
    {"crash", "disk_full", "fetch_error", "retention", "log_cut", "force_push", "empty_tree", "bad_file"}
)
"""Faults that take nothing away from what targets know and say."""
_REVOKED = frozenset({TaskPhase.REVOKING, TaskPhase.REVOKED})
_FINAL_TASKS = frozenset({TaskPhase.FINISHED, TaskPhase.REVOKED, TaskPhase.FAILED})
_BROKEN = frozenset({StepPhase.FAILED, StepPhase.LOST, StepPhase.CANCELLED})
_OVER = frozenset(phase.value for phase in ENDED_ATTEMPTS)


class Violation(BaseException):
    """An invariant does not hold; the text begins with its number. Nothing in the product may catch it."""


class Oracle:
    """What was committed, as far as it is known, and what was promised about it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._tasks: dict[Uid, TaskSnapshot] = {}
        self._admitted: set[Uid] = set()
        self._gone: set[Uid] = set()
        self._lost: set[str] = set()  # attempts whose outcome was declared unknown
        self._rows: set[str] = set()  # attempts that were ever recorded
        self.epoch = 0
        self._kept: Kept | None = None  # what a backup holds
        self._past: Past = NOTHING  # what happened before an older database was put in place
        self._held = False  # an older database is in place and nobody has looked yet
        self._rewritten = False
        self._firings = Firings()
        self._kept_firings = Firings()
        self._over: set[tuple[Uid, str, int]] = set()  # the attempts that ended with the last commit
        self._authority = Authority()
        self._kept_authority = Authority()
        self._removals = Removals()
        self._kept_removals = Removals()
        self._tries = Tries()
        self._kept_tries = Tries()

    # -- the life of controllers -------------------------------------------------------------------------------------

    def opened(self, process: "Process") -> None:
        """A controller has opened the store: the epoch is higher, and everything committed is there (I1, I13)."""
        store = process.store
        if store.epoch <= self.epoch:
            raise self._broken(f"I13 epoch {store.epoch} after {self.epoch}")
        self.epoch = store.epoch
        if self._rewritten and not store.held:
            raise self._broken("C20 an older database is in place and is not held")
        self._held, self._rewritten = self._held or self._rewritten, False
        stored = store.snapshot(store.everyone()).tasks
        if stored.keys() != self._tasks.keys():
            raise self._broken(f"I1 the tasks are {sorted(stored)}, and committed were {sorted(self._tasks)}")
        for uid, task in self._tasks.items():
            if stored[uid] != task:
                raise self._broken(f"I1 {task.record.name} is not what was committed: {stored[uid]} != {task}")

    def backed_up(self) -> None:
        """A backup was taken: it holds what is committed now (C19)."""
        self._kept_firings, self._kept_authority = self._firings.copy(), self._authority.copy()
        self._kept_removals, self._kept_tries = self._removals, self._tries.copy()
        self._kept = Kept.of(self._tasks, self._admitted, self._gone, self._lost, self._rows)

    def restored(self) -> None:
        """The database was replaced by the backup: what is known is what it holds, and targets know more."""
        assert self._kept
        self._tasks, self._admitted, self._gone, self._lost, self._rows = self._kept.copies()
        self._firings, self._authority = self._kept_firings.copy(), self._kept_authority.copy()
        self._removals, self._tries = self._kept_removals, self._kept_tries.copy()
        target = self._world.target
        self._past = Past(frozenset(target.executions), frozenset(target.objects))
        self._rewritten = True

    def released(self) -> None:
        """A person decided about the older database."""
        self._held = False

    def surprised(self, error: Exception) -> None:
        """The product logged an exception that nobody expected."""
        if not isinstance(error, ConnectionError):
            raise self._broken(f"an exception in the loop: {error!r}") from error

    def _broken(self, text: str) -> Violation:
        """The violation to raise; the world knows it too, whoever swallows it on the way."""
        self._world.failed = self._world.failed or Violation(text)
        return Violation(text)

    # -- requests ----------------------------------------------------------------------------------------------------

    def sending(self, process: "Process", call: Call) -> None:
        """A START leaves the process: its intent is on disk, and nothing else of the step may be under way (I2)."""
        if process.store.epoch != self.epoch:
            return
        if self._held:
            raise self._broken(f"C20 {call.call_key} is sent from an older database that nobody has looked at")
        uid, path = Uid(call.key.split("/")[0]), _path_of(call)
        attempt = self._tasks[uid].attempts.get(path) if uid in self._tasks else None
        if attempt is None or (attempt.key, attempt.call) != (call.key, call.number) or attempt.ended:
            raise self._broken(f"I2 {call.call_key} is sent, and on disk is {attempt}")
        if self._tasks[uid].record.held:
            raise self._broken(f"C20 {call.call_key} is sent, and nobody has decided about its task")
        executed = self._world.target.executions[call.call_key]
        if flavour_of(call) not in DEDUPLICATING | {"process"} and executed > self._repeats(call.call_key):
            raise self._broken(f"I2 {call.call_key} is sent again to a target that does not deduplicate")
        self._check_request(call, uid)

    def _check_request(self, call: Call, uid: Uid) -> None:
        """What a step reads is the recorded output of the step before it."""
        text = words_of(call)["x"]
        values = {value_of(step.outputs) for step in self._tasks[uid].steps.values()}
        for word in text.split():
            if word not in {"-", "null", "None"} and not any(word in value for value in values if value):
                raise self._broken(f"I4 {call.call_key} was given {word!r}, which no recorded step said")

    # -- commits -----------------------------------------------------------------------------------------------------

    def committed(self, process: "Process", changes: Sequence[Change], committed: Committed, at: datetime) -> None:
        """A commit is durable."""
        if process.store.epoch != self.epoch:
            raise self._broken(f"C21 epoch {process.store.epoch} wrote while {self.epoch} is the newest")
        around = Around(self._world.schedules, self._tasks, committed.snapshot.tasks, at)
        for text in self._firings.wrong(changes, around):
            raise self._broken(text)
        self._authority.heard(changes)
        ends = [each for each in committed.events if each.subject == "attempt" and each.after in _OVER]
        self._over = {(each.uid, each.path, each.attempt) for each in ends}
        lost = (each for each in ends if each.after == AttemptPhase.LOST.value)
        self._lost |= {attempt_key(each.uid, each.path, each.attempt) for each in lost}
        for change in sorted(changes, key=lambda each: not isinstance(each, Activated)):
            self._note(change)
        known = {uid: self._tasks.get(uid) for uid in committed.snapshot.tasks}
        for uid, task in committed.snapshot.tasks.items():
            if known[uid] is not task:
                self._compare(process, known[uid], task)
                self._tasks[uid] = task
        for change in changes:
            if isinstance(change, Intended):
                self._intended(process, change.attempt, at)
            elif isinstance(change, StepAdvanced | Repinned | Controlled):
                self._commanded(process, change, known.get(change.uid))
        programs = process.loop.programs.get
        for text in entered_wrongly(known, self._tasks, programs):
            raise self._broken(f"group: {text}")
        where = (known, programs, at, self._world.clock.offset)
        for text in decided_wrongly(self._tries, changes, committed, *where):
            raise self._broken(f"decision: {text}")
        if text := crowded(changes, self._tasks, self._world.case.room):
            raise self._broken(f"decision: {text}")
        self._executed_once()

    def _note(self, change: Change) -> None:
        for name in in_change(change):
            self._world.reached(name)
        removals = self._removals.after(change, self._tasks.values(), self._world.repository)
        if text := removals.wrong(self._removals, self._world.repository):
            raise self._broken(f"rule 5: {text}")
        self._removals = removals
        match change:
            case Admitted():
                self._admit(change)
            case Retired():
                self._gone.add(change.uid)
                self._tasks.pop(change.uid, None)

    def _commanded(
        self, process: "Process", change: StepAdvanced | Repinned | Controlled, before: TaskSnapshot | None
    ) -> None:
        """What a commit asked for takes effect as it was written (rule 7)."""
        task = self._tasks[change.uid]
        if isinstance(change, Repinned):
            self._world.reached("repinned")
            text = repinned_wrongly(change, before, task, self._world.repository)
        elif isinstance(change, Controlled):
            text = uncommitted(change, task.record.name, self._world.people.written)
        else:
            program = process.loop.programs.get(task.record.pins)
            text = next(self._authority.wrong(change, before, task, program), "")
            if verb := answered_by(change):
                self._world.reached(f"answer: {verb}")
        if text:
            raise self._broken(f"rule 7: {text}")

    def turned(self, process: "Process", now: datetime) -> None:
        """A turn of the newest controller is over."""
        if text := self._tries.overdue(now):
            raise self._broken(f"decision: {text}")
        if text := self._firings.late(process.number, now, self._world.clock.elapsed, process.follows):
            raise self._broken(text)

    def newest(self, name: str) -> TaskSnapshot | None:
        """The newest run of the task of this name, or the newest task of the trigger of this name."""
        found = [task for task in self._tasks.values() if name in {task.record.name, task.record.trigger}]
        return max(found, key=lambda task: (task.record.number, task.record.run), default=None)

    def read(self, reader: Reader) -> None:
        """What the API reads at any moment is what is committed (I11)."""
        seen = {record.uid: record for record in reader.tasks(limit=LIMIT).items}
        told = {uid: task.record for uid, task in self._tasks.items()}
        if seen != told or reader.snapshots(list(told)) != self._tasks:
            raise self._broken(f"I11 the API shows {sorted(seen.values(), key=str)}, and committed is {told}")

    def _executed_once(self) -> None:
        target = self._world.target
        for key, count in target.executions.items():
            if count > 1 + self._repeats(key) and target.work[key].flavour != "get":
                raise self._broken(f"I2 {key} was executed {count} times")

    def _repeats(self, key: str) -> int:
        """How often a call may be carried out again, as docs/reliability.md tells about restored databases."""
        return self._past.repeats(key, self._lost)

    def _admit(self, change: Admitted) -> None:
        uid = change.task.uid
        if uid in self._admitted or uid in self._gone:
            raise self._broken(f"I2 {change.task.name} run {change.task.run} is admitted a second time")
        if change.task.pins:
            self._admitted.add(uid)

    def _compare(self, process: "Process", before: TaskSnapshot | None, task: TaskSnapshot) -> None:
        """What was recorded stays recorded, and what ended stays as it ended (I1, I5, I13)."""
        if before:
            old, new = before.record, task.record
            goes_on = old.phase is TaskPhase.FAILED and new.uid in self._authority.opened
            told = new.control.get("state") == "revoked" or uncertain(before.steps)  # its place may be taken from it
            goes_on |= old.phase is TaskPhase.FAILED and new.phase in _REVOKED and told
            if old.phase in _FINAL_TASKS and not goes_on and (old.phase, old.outputs) != (new.phase, new.outputs):
                raise self._broken(f"I5 the task {new.name} was {old.phase} and is {new.phase}")
            if new.pins != old.pins and old.pins and new.repinned == old.repinned:
                raise self._broken(f"rule 2: the pins of {new.name} changed")
        for path, step in (before.steps if before else {}).items():
            self._compare_step(step, task.steps.get(path))
        for path, attempt in task.attempts.items():
            known = before.attempts.get(path) if before else None
            if known is not attempt:
                self._compare_attempt(process, task, known, attempt)
        if before and before.attempts.keys() - task.attempts.keys():
            raise self._broken(f"I1 an attempt of {task.record.name} is gone")
        for name in in_task(before, task):
            self._world.reached(name)

    def _compare_step(self, old: StepRecord, new: StepRecord | None) -> None:
        if new is None:
            raise self._broken(f"I1 the step {old.path} is gone")
        if new.attempt < old.attempt:
            raise self._broken(f"I13 {old.path}: attempt {new.attempt} after {old.attempt}")
        changed = (old.phase, old.outputs) != (new.phase, new.outputs)
        if old.phase in ENDED_STEPS and changed and not self._authority.reopens(old):
            raise self._broken(f"I5 the step {old.path} was {old.phase} and is {new.phase}")

    def _compare_attempt(
        self, process: "Process", task: TaskSnapshot, old: AttemptRecord | None, new: AttemptRecord
    ) -> None:
        self._rows.add(new.key)
        if old and old.number > new.number:
            raise self._broken(f"I13 {new.path}: attempt {new.number} after {old.number}")
        if old and old.number == new.number and old.ended and _told(old) != _told(new):
            raise self._broken(f"I5 attempt {new.number} of {new.path} was {old.phase} and changed")
        if old and old.number < new.number and not (old.ended or (new.uid, new.path, old.number) in self._over):
            raise self._broken(f"I5 attempt {new.number} of {new.path} began before {old.number} ended")
        if new.ended and (old is None or old.number != new.number or not old.ended):
            self._world.reached(f"attempt {new.phase}")
            stopping = old is not None and old.phase is AttemptPhase.CANCELLING
            sure = not stopping and self._surely_known(process, task, new)
            target, elapsed = self._world.target, self._world.clock.elapsed
            if text := unproven(new, target, elapsed, sure=sure, before=self._past.executed):
                raise self._broken(text)

    def _surely_known(self, process: "Process", task: TaskSnapshot, attempt: AttemptRecord) -> bool:
        """Whether nothing that has happened could make the outcome unknown.

        A mere crash does not where it can be looked up, or the same call goes out again.
        """
        doubts = {call for fault, call in self._world.struck if fault not in HARMLESS}
        if "" in doubts or any(call.startswith(f"{attempt.key}/") for call in doubts):
            return False
        unit = locate(process.loop.programs.get(task.record.pins), attempt.path).unit
        flavour = flavour_of_attempt(attempt)
        resent = flavour in DEDUPLICATING and bool(unit) and unit.on_lost == "retry"
        return self._world.lives == 1 or flavour in PROVABLE or resent

    def _intended(self, process: "Process", attempt: AttemptRecord, at: datetime) -> None:
        """A step begins only after all that it waits for, and after the end of its attempt before (I4, I2)."""
        task = self._tasks[attempt.uid]
        position: Position | None = locate(process.loop.programs.get(task.record.pins), attempt.path)
        while position:
            for earlier in position.before:
                step = task.steps.get(earlier.path)
                phase = step.phase if step else StepPhase.WAITING
                if phase not in ENDED_STEPS or (phase in _BROKEN and not earlier.node.continue_on_error):
                    raise self._broken(f"I4 {attempt.path} begins, and {earlier.path} is {phase}")
            position = position.around
        last = locate(process.loop.programs.get(task.record.pins), attempt.path).last
        if task.record.phase not in {TaskPhase.CREATED, TaskPhase.RUNNING} and not last:
            raise self._broken(f"rule 5: {attempt.path} begins in a task that is {task.record.phase}")
        if not last and (text := begins_against_its_word(task.record, attempt, at)):
            raise self._broken(f"rule 6: {text}")
        self._nothing_else_runs(attempt)

    def _nothing_else_runs(self, attempt: AttemptRecord) -> None:
        for work in self._world.target.work.values():
            other = work.attempt.rpartition("/")
            if other[0] != attempt.key.rpartition("/")[0] or work.attempt == attempt.key:
                continue
            if work.running(self._world.clock.elapsed) and work.flavour not in DEDUPLICATING:
                if work.attempt not in self._lost and not self._past.ahead(work.key, attempt.number):
                    raise self._broken(f"I2 {attempt.key} begins while {work.key} runs")

    @property
    def ends(self) -> dict[str, TaskPhase]:
        """How each run stands, by name and run."""
        records = [task.record for task in self._tasks.values()]
        return {f"{record.name} {record.run}": record.phase for record in records}

    # -- the end -----------------------------------------------------------------------------------------------------

    def restless(self, process: "Process") -> str:
        """What is not at rest, for a person."""
        live = [task for task in self._tasks.values() if task.record.live]
        steps = [
            f"{t.record.name}:{p} {s.phase}" for t in live for p, s in t.steps.items() if s.phase not in ENDED_STEPS
        ]
        return ", ".join(steps) or "nothing that lives"

    def final(self, process: "Process") -> None:
        """Everything has come to rest: ended or waiting for a named reason; the database holds together (I7, I12, I14)."""
        for task in self._tasks.values():
            self._rests(process, task)
        records = [task.record for task in self._tasks.values()]
        if (library := process.follower.library) and not self._gone and (name := unheard(library, records)):
            raise self._broken(f"I7 the file of {name} has no run")
        if isinstance(desired := process.loop.agenda.desired, Complete):
            put_back = ("clock_back", "") in self._world.struck
            for text in disobedient(desired, records, self._world.clock.now(), put_back=put_back):
                raise self._broken(f"rule 6: {text}")
        target = self._world.target
        unknown = {key for key, work in target.work.items() if work.unknown}
        left = {key for key, attempt in target.objects.items() if attempt not in self._lost} - unknown
        if left := {key for key in left if not self._past.forgotten(key, self._rows)}:
            raise self._broken(f"I14 left at the target: {sorted(left)}")
        process.store.checkpoint(above=0)
        findings = inspect(self._world.folder)
        if findings:
            raise self._broken(f"I12 {'; '.join(map(str, findings[:3]))}")

    def _rests(self, process: "Process", task: TaskSnapshot) -> None:
        record = task.record
        unfinished = [each for each in task.attempts.values() if not each.ended]
        if unfinished:
            raise self._broken(f"I7 {record.name} ({record.phase}): {unfinished[0].path} has an attempt without an end")
        if record.live and not may_rest(task, self._tasks, process.loop.programs.get):
            raise self._broken(f"I7 {record.name} is {record.phase} ({record.reason}) and nothing happens")


def _told(attempt: AttemptRecord) -> Any:
    return (attempt.phase, attempt.outputs, attempt.call, attempt.code, attempt.message)


def _path_of(call: Call) -> str:
    return str(call.labels["reconciler.dev/step"])
