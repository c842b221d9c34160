"""The world of one case: time, people who commit, machines, a wire, and controllers that live and die in it.

Nothing here waits and nothing is random beyond the case's own luck.
"""

import heapq
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from state.backup import backup, restore
from state.changes import Retired
from state.records import Cause
from tests.simulation.answers import WITH_A_LOOK, View
from tests.simulation.case import Case, Operation
from tests.simulation.chance import Chance
from tests.simulation.event_loop import Clock
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.people import People
from tests.simulation.process import Process
from tests.simulation.source import Repository
from tests.simulation.target import Target

RATES = {
    "lost_request": 0.15,
    "lost_reply": 0.2,
    "duplicate_reply": 0.2,
    "late_reply": 0.1,
    "refused": 0.1,
    "handle_lost": 0.1,
    "stale_read": 0.3,
    "wrong_exit_code": 0.15,
    "disk_full": 0.1,
    "fetch_error": 0.3,
    "slow_target": 0.1,
    "result_too_big": 0.1,
    "log_cut": 0.3,
    "container_gone": 0.08,
    "exit_code_late": 0.3,
    "name_taken": 0.25,
    "slow_stop": 0.5,
}
TIMED = ("target_restart", "clock_forward", "clock_back", "second_controller", "retention")
COMMON = frozenset({"C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C11"})
RARE = frozenset(
    {
        "C6 before the exec is made",
        "C6 before the targets are found",
        "C8 handle known, not recorded",
        "C8 targets found, not recorded",
        "C7 made, its handle unknown",
        "C9 handle recorded, not started",
        "C9 while looking",
        "C10 ended, not recorded",
        "C13 before the clean-up",
        "C14 cleaned up, not recorded",
        "C15 before the cancel",
        "C15 cancelled, not recorded",
    }
)
OFTEN, SELDOM, RARELY = 0.03, 0.15, 0.3
"""How likely a death is at a yield point that every case passes many times, at one that few reach, and that hardly any do."""
CRASHES = 4
TURNS = 60_000
PATIENCE = 4000.0
"""Seconds after the last fault in which everything must have come to rest."""


class World:
    """One case while it is played."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.folder = folder / "state"
        self.schedules = {each.name: each for each in case.schedules}
        self.chance = Chance(case.seed)
        self.clock = Clock(offset=case.ahead)
        self.target = Target()
        self.repository = Repository()
        self.history: list[str] = []
        self.found: Counter[str] = Counter()
        self.points = 0
        self.calm = False
        self.over = False
        self.failed: BaseException | None = None  # what ended a controller, or the case
        self.oracle = Oracle(self)
        self.people = People(case, self.repository, self.chance)
        self.processes: list[Process] = []
        self.lives = 0
        self._kills = 0
        self.struck: set[tuple[str, str]] = set()  # fault, and the call that it was about; "" is all of them
        self._counts: Counter[tuple[object, ...]] = Counter()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._release_due = False
        self._decisions = 0
        self._replacing = False
        self._wire_busy_until = 0.0
        self._backup_epoch = 0
        self._backup = folder / "backup.db"

    # -- time --------------------------------------------------------------------------------------------------------

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Have something happen at `time`."""
        self._planned += 1
        heapq.heappush(self._agenda, (max(time, self.clock.elapsed), self._planned, what))

    def run(self) -> None:
        """From the first commit to rest. Raises Violation."""
        self._plan()
        self.start()
        for _ in range(TURNS):
            self._turn()
            if self.over:
                return
        raise Violation(f"not at rest after {TURNS} turns: something runs hot")

    def _turn(self) -> None:
        due = self._agenda[0][0] if self._agenda else None
        times = [(time, process) for process in self.processes if (time := process.eventloop.next_time()) is not None]
        if due is not None and all(due <= time for time, _ in times):
            time, _, what = heapq.heappop(self._agenda)
            self.clock.elapsed = max(self.clock.elapsed, time)
            return what()
        if not times:
            raise Violation("nothing is ever going to happen again")
        time, process = min(times, key=lambda each: each[0])
        self.clock.elapsed = max(self.clock.elapsed, time)
        process.eventloop.turn()
        if isinstance(self.failed, Violation):
            raise self.failed
        if self.failed:
            raise Violation(f"a controller ended by {self.failed!r}") from self.failed
        for each in [each for each in self.processes if not each.alive]:
            self.processes.remove(each)
            each.bury()
        return None

    def _plan(self) -> None:
        operations = self.case.operations
        for operation in operations:
            if operation.kind in WITH_A_LOOK:
                self.at(operation.at - operation.seen, lambda operation=operation: self._look(operation))  # type: ignore[misc]  # bound now
            else:
                self.at(operation.at, lambda operation=operation: self._operate(operation))  # type: ignore[misc]  # bound now
        end = max((each.at for each in operations), default=0.0) + (15.0 if self.case.faults else 0.0)
        for fault in TIMED:
            if fault in self.case.faults:
                self.at(self.chance.between(0.5, end, fault), lambda fault=fault: self._strike(fault))  # type: ignore[misc]  # bound now
        if "restore" in self.case.faults:
            early, late = sorted((self.chance.between(0.5, end, "early"), self.chance.between(0.5, end, "late")))
            self.at(early, self._take_backup)
            self.at(late, self._restore)
        self.at(end, self._settle)

    def _settle(self) -> None:
        """No more faults: from here on everything has to come to rest."""
        self.note("-- calm --")
        self.calm = True
        if self.case.schedules:
            self._operate(Operation(self.clock.elapsed, "calm"))
            self.mend()  # a refused revision would leave the triggers in force that it takes away
        for process in self.processes:
            if process.store.epoch < self.oracle.epoch:
                process.die("nobody needs two")
        self.start()
        self._release_due = True
        self.at(self.clock.elapsed + 1, self._release)
        self.at(self.clock.elapsed + PATIENCE, self._too_late)

    def _release(self) -> None:
        """A person has looked: what was held or not adopted goes on."""
        process = self.processes[-1] if self.processes else None
        if process is None or not hasattr(process, "loop"):
            return self.at(self.clock.elapsed + 1, self._release)
        self._release_due = process.waits_for_a_person
        if self._release_due:
            process.adopt(self._chosen())
            self.at(self.clock.elapsed + 9, self._release)
        return None

    def _chosen(self) -> Callable[[str], bool] | None:
        """What a person names first, who may say `--none` or some names; None, and later on, is everything."""
        self._decisions += 1
        kind = self.chance.roll("adopt", "how")
        if self._decisions > 1 or kind < 0.4:
            return None
        self.reached("adopted none" if kind < 0.7 else "adopted by name")
        return lambda name: kind >= 0.7 and self.chance.roll("adopt", name) < 0.5

    def _too_late(self) -> None:
        raise Violation("I7 not at rest: " + self.oracle.restless(self.processes[-1]))

    def idle(self, process: Process) -> None:
        """A controller has nothing to do now or later; only with everybody's work done is this the end."""
        if self._release_due or process is not self.processes[-1]:
            return
        if process.waits_for_a_person:
            self._release_due = True
            self.at(self.clock.elapsed + 3, self._release)
        else:
            self.oracle.final(process)
            self.over = True

    # -- controllers -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A controller begins its life, unless there is one that nobody has followed."""
        if self._replacing:
            return self.at(self.clock.elapsed + 0.5, self.start)
        if any(process.alive and process.store.epoch == self.oracle.epoch for process in self.processes):
            return None
        self.lives += 1
        self.note(f"controller {self.lives} starts")
        process = Process(self, self.lives, self.folder)
        self.processes.append(process)
        return process.begin()

    def died(self, process: Process) -> None:
        """Somebody starts it again."""
        self.at(self.clock.elapsed + self.chance.between(0.5, 4, "restart", self.lives), self.start)

    def kills(self, name: str) -> bool:
        """Whether the process dies at this yield point."""
        self.points += 1
        self.reached(name)
        if self.points in self.case.crash_at:
            killed = True
        elif self.calm or "crash" not in self.case.faults or self._kills >= CRASHES:
            killed = False
        else:
            often = OFTEN if name.partition(" ")[0] in COMMON else SELDOM
            rate = RARELY if name in RARE else often
            killed = self.chance.roll("crash", name, self.found[name]) < rate
        if killed:
            self._kills += 1
            self.reached(f"crash at {name}")
        return killed

    def _second_controller(self) -> None:
        """A controller that lost its lock without knowing lives on beside the new one."""
        if not self.processes:
            return
        self.processes[-1].store.folder.unlock()
        self.processes[-1].store.folder._lock = _nothing()
        self.lives += 1
        self.note(f"controller {self.lives} starts beside the other")
        process = Process(self, self.lives, self.folder)
        self.processes.append(process)
        process.eventloop.call_later(0.5, process.begin)

    # -- faults ------------------------------------------------------------------------------------------------------

    def strikes(self, fault: str, *about: object) -> bool:
        """Whether `fault` happens now; every time it is asked about the same thing the luck is another."""
        if self.calm or fault not in self.case.faults:
            return False
        key = (fault, *about)
        self._counts[key] += 1
        if self.chance.roll(*key, self._counts[key]) >= RATES[fault]:
            return False
        self.reached(f"fault: {fault}")
        call = str(about[-1])
        self.struck.add((fault, call if "/" in call else ""))
        self.note(f"fault: {fault} {' '.join(map(str, about))}")
        return True

    def _strike(self, fault: str) -> None:
        self.reached(f"fault: {fault}")
        self.struck.add((fault, ""))
        self.note(f"fault: {fault}")
        match fault:
            case "target_restart":
                if self.target.restart(self.clock.elapsed):
                    self.reached("container: engine restarted")
            case "clock_forward":
                self.clock.offset += self.chance.between(1, 120, fault, "by")
            case "clock_back":
                self.clock.offset -= self.chance.between(1, 120, fault, "by")
            case "second_controller":
                self._second_controller()
            case "retention":
                self._retire()

    def _retire(self) -> None:
        if self.processes and hasattr(self.processes[-1], "inbox"):
            process = self.processes[-1]
            uids = process.store.finished_before(self.clock.now())
            process.inbox.ask([Retired(uid, Cause("timer", message="retention")) for uid in uids], uids)

    def _take_backup(self) -> None:
        if (self.folder / "state.db").exists():
            self._backup_epoch = backup(self.folder, self._backup).epoch
            self.oracle.backed_up()

    def _restore(self) -> None:
        """The database is put back from the backup: by the command, or by hand behind everybody's back."""
        if not self._backup.exists():
            return
        self.reached("fault: restore")
        self.struck.add(("restore", ""))
        for process in self.processes:
            process.die("the database is restored")
            process.bury()
        self.processes.clear()
        self._replacing = True
        self.at(self._wire_busy_until, self._replace_database)  # what is on the wire arrives before anybody restores

    def _replace_database(self) -> None:
        self._replacing = False
        epochs = [int(text) for text in (self._backup_epoch, (self.folder / "epoch").read_text())]
        if epochs[0] < epochs[1] and self.chance.roll("restore by hand") < 0.7:
            self.note("fault: the database is replaced by hand")
            self.reached("restored by hand")
            for ending in ("", "-wal", "-shm"):
                (self.folder / f"state.db{ending}").unlink(missing_ok=True)
            shutil.copy(self._backup, self.folder / "state.db")
        else:
            self.note("fault: the database is restored")
            restore(self._backup, self.folder)
        self.oracle.restored()

    # -- the rest of the world ---------------------------------------------------------------------------------------

    def delay(self, what: str) -> float:
        """How long a thread takes to its work."""
        self._counts["delay", what] += 1
        return self.chance.between(0, 0.02, what, self._counts["delay", what])

    def arrive(self, what: Callable[[], None]) -> None:
        """A request arrives a little later, never before an earlier one."""
        time = self.clock.elapsed + 0.01 + self.delay("wire") * 3
        self._wire_busy_until = max(time, self._wire_busy_until)
        self.at(self._wire_busy_until, what)

    def _look(self, operation: Operation) -> None:
        """Somebody looks, and acts on it later."""
        task = self.oracle.newest(operation.subject)
        process = self.processes[-1] if self.processes else None
        known = task and task.record.pins and process and hasattr(process, "loop")
        program = process.loop.programs.get(task.record.pins) if known else None
        view = View(task, program, self.repository.head.oid if self.repository.head else "")
        self.at(operation.at, lambda: self._operate(operation, view))

    def _operate(self, operation: Operation, view: View | None = None) -> None:
        text = self.people.operate(operation, self.clock.now(), view)
        if not text.endswith("no change"):
            self.reached(f"people: {operation.kind}")
        self.note(text)
        if self.processes and hasattr(self.processes[-1], "hint"):
            process = self.processes[-1]
            process.eventloop.call_later(self.delay("hint"), process.hint.set)

    def mend(self) -> None:
        """People put back what a refused revision took away, and mean what else it takes."""
        self._operate(Operation(self.clock.elapsed, "mend"))
        self._operate(Operation(self.clock.elapsed, "confirm"))

    def reached(self, name: str) -> None:
        """One more time that something interesting happened."""
        self.found[name] += 1

    def note(self, text: str) -> None:
        """A line of the history."""
        self.history.append(f"{self.clock.elapsed:9.3f} {text}")


def _nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY)
