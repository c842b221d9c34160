"""The ways to end a controller without asking it, each followed by a start that must put everything right."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.controllers import Controller
from tests.crash.oracle import Oracle, Tally
from tests.crash.world import World

FLAGS = ("--enable", "process")
SYSCALLS = ("pwrite64", "fdatasync", "ftruncate", "sendto", "connect", "recvfrom")
"""What only the controller itself does: the commands and the git processes beside it are not to be hit."""
TASKS = 3
FAILURES = ("ENOSPC", "EIO")
_CALL = re.compile(r"^(\d+) .*?\b(\w+)\(")


class Point(NamedTuple):
    """The `number`th system call `call` of one thread."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.number}"


class Campaign:
    """Kills in one world. `chance` chooses the moments, so a seed names a campaign."""

    def __init__(self, world: World, chance: random.Random, told: Callable[[str], None] = lambda _: None) -> None:
        self.world = world
        self.chance = chance
        self.told = told
        self.oracle = Oracle(world)

    @property
    def tally(self) -> Tally:
        return self.oracle.tally

    def kill_at_random(self, span: float = 1.2) -> None:
        """New tasks, a kill within `span` seconds of the start, and the way back."""
        self.world.want(TASKS)
        self._start_and_kill(self.chance.uniform(0, span))
        self.converge("a random moment")

    def kill_during_recovery(self, kills: int = 2) -> None:
        """A kill in the middle of things, and then each next start is killed soon after it has the folder."""
        self.world.want(TASKS)
        self._start_and_kill(self.chance.uniform(0.3, 0.7))
        for _ in range(kills):
            self._start_and_kill(self.chance.uniform(0, 0.3))
        self.converge("recovery itself")

    def kill_each_start(self, times: int = 10, seconds: float = 1.0) -> None:
        """A machine that cannot keep its controller: killed `seconds` after each start of the process."""
        self.world.want(TASKS)
        for _ in range(times):
            with self._controller() as controller:
                time.sleep(seconds)
                controller.kill()
            self._killed()
        self.converge(f"{seconds:g} s after each of {times} starts")

    def stop_and_continue(self, seconds: float = 2.0) -> None:
        """SIGSTOP in the middle, SIGCONT later: nothing is lost, nothing is called twice."""
        self.world.want(TASKS)
        with self._controller("--until-idle") as controller:
            controller.started()
            time.sleep(self.chance.uniform(0.1, 0.6))
            controller.process.send_signal(signal.SIGSTOP)
            self.oracle.terminated()  # a reply that came meanwhile may be found after its time was over
            time.sleep(seconds)
            controller.process.send_signal(signal.SIGCONT)
            code = controller.wait(60)
            self.tally.starts += 1
        self._judge(code, f"stopped for {seconds:g} s")

    def terminate(self) -> None:
        """SIGTERM in the middle: an orderly end within ten seconds, and the next start goes on."""
        self.world.want(TASKS)
        (self.world.state / "heartbeat").unlink(missing_ok=True)
        with self._controller() as controller:
            controller.until((self.world.state / "heartbeat").exists)
            time.sleep(self.chance.uniform(0, 0.8))
            began = time.monotonic()
            code = controller.terminate(30)
            seconds = time.monotonic() - began
        self.tally.longest = max(self.tally.longest, seconds)
        if code or seconds > 10:
            self.tally.violations.append(f"SIGTERM: exit code {code} after {seconds:.1f} s")
        self.oracle.terminated()
        self.tally.starts += 1
        self.converge("SIGTERM")

    def fail_at_syscall(self, point: Point) -> None:
        """A disk that refuses a write or a sync: the controller says so or ends, and the next start goes on."""
        error = self.chance.choice(FAILURES)
        self.world.want(1)
        with self._controller("--until-idle", wrapped=_injecting(point, f"error={error}")) as controller:
            controller.wait(60)
            self.tally.starts += 1
            if "Traceback" in controller.text:
                self.tally.violations.append(f"{error} at {point}: a traceback")
        self.oracle.terminated()
        self.converge(f"{error} at {point}")

    def kill_at_syscall(self, point: Point) -> bool:
        """A kill at a system call; False if a run has fewer of them than that."""
        self.world.want(1)
        with self._controller("--until-idle", wrapped=_injecting(point, "signal=SIGKILL")) as controller:
            code = controller.wait(60)
            self.tally.starts += 1
        killed = code not in {0, 1}
        if killed:
            self._killed()
            self.converge(str(point))
        else:
            self._judge(code, f"{point} (not reached)")
        return killed

    def syscall_points(self) -> list[Point]:
        """How many of each system call the busiest thread makes in a run of one task, as points to be killed at."""
        self.world.want(1)
        trace = self.world.state.with_name("trace")
        wrapped = ("strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(SYSCALLS)}")
        with self._controller("--until-idle", wrapped=wrapped) as controller:
            code = controller.wait(60)
            self.tally.starts += 1
        self._judge(code, "counting system calls")
        return [Point(name, number) for name, most in _busiest(trace) for number in range(1, most + 1)]

    def converge(self, what: str) -> None:
        """A start that nobody interrupts, and the judgement."""
        with self._controller("--until-idle") as controller:
            code = controller.wait(60)
            self.tally.starts += 1
        self._judge(code, what)

    def _controller(self, *flags: str, wrapped: Sequence[str] = ()) -> Controller:
        return Controller(self.world.repository.folder, self.world.state, *FLAGS, *flags, wrapped=tuple(wrapped))

    def _start_and_kill(self, seconds: float) -> None:
        with self._controller() as controller:
            controller.started()
            time.sleep(seconds)
            controller.kill()
        self._killed()

    def _killed(self) -> None:
        self.tally.starts += 1
        self.oracle.killed()

    def _judge(self, code: int, what: str) -> None:
        before = len(self.tally.violations)
        self.oracle.idle(code)
        self.tally.moments += 1
        for news in self.tally.violations[before:]:
            self.told(f"{what}: {news}")


def _injecting(point: Point, what: str) -> tuple[str, ...]:
    """The words before a command to which `what` happens at `point`."""
    inject = f"inject={point.call}:{what}:when={point.number}"
    return ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={point.call}", "-e", inject)


def strace_works() -> bool:
    """Whether system calls can be chosen as the moments of kills here."""
    if not shutil.which("strace"):
        return False
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=getppid:signal=SIGKILL:when=1", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _busiest(trace: Path) -> Iterator[tuple[str, int]]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        if found := _CALL.match(line):
            counts[found[2], found[1]] += 1
    for name in SYSCALLS:
        yield name, max((count for (call, _), count in counts.items() if call == name), default=0)
