"""Where the controllers of tests are born: a process that has loaded the product, and forks one for whoever asks.

Loading is nine tenths of what a short run costs. What is born is a process like any other, with its own id, words,
environment, folder and streams, and can be stopped, killed and waited for; only the loading lies before its birth.
What needs a program started by the system (strace around it, another preloaded library) is no case for it.
"""

import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NoReturn

_ROOM = 1 << 18
_LOOK_AGAIN = 0.01
_FIRST_OF_OTHERS, _OPEN_FILES = 3, 4096
_LOADED = ("reconciler.cli.app", "reconciler.cli.announcement", "reconciler.controller", "reconciler.api.app")
"""What `reconciler run` and the commands that read import at their start; to load it makes nothing."""


class Child:
    """A process of the nursery, with the part of `subprocess.Popen` that tests use. Its id is its own until it is waited for."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | Any = None  # as in Popen

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.ask({"ended": self.pid})["code"]
        code: int | None = self.returncode
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout or float("inf"))
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(_LOOK_AGAIN)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing for one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, seen by who asks it; it ends when this one does."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self._here, there):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        command = [sys.executable, "-m", "tests.nursery", str(there.fileno())]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[there.fileno()])
        there.close()

    def start(self, words: Sequence[str], stdout: int, stderr: int) -> Child:
        """`reconciler WORDS` in this process's folder and environment, that prints into the files of these numbers."""
        order = {"start": list(words), "environment": dict(os.environ), "folder": os.getcwd()}
        return Child(self, self.ask(order, [stdout, stderr])["pid"])

    def ask(self, order: dict[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
        """The answer to an order."""
        with self._turn:
            socket.send_fds(self._here, [json.dumps(order).encode()], files)
            answer: dict[str, Any] = json.loads(self._here.recv(_ROOM))
            return answer

    def close(self) -> None:
        """Nobody asks any more."""
        self._here.close()
        self._process.wait()


@cache
def nursery() -> Nursery:
    """The only one of this process, made when it is first needed."""
    return Nursery()


def leave() -> None:
    """End it, if there is one."""
    if nursery.cache_info().currsize:
        nursery().close()
        nursery.cache_clear()


def _serve(orders: socket.socket) -> None:
    """Until nobody can ask any more."""
    while True:
        text, files, _, _ = socket.recv_fds(orders, _ROOM, 2)
        if not text:
            return
        order = json.loads(text)
        answer = _ended(order["ended"]) if "ended" in order else {"pid": os.fork()}
        if answer.get("pid") == 0:
            _become(order, files)
        for each in files:
            os.close(each)
        orders.send(json.dumps(answer).encode())


def _ended(pid: int) -> dict[str, Any]:
    found, status = os.waitpid(pid, os.WNOHANG)
    return {"code": os.waitstatus_to_exitcode(status) if found else None}


def _become(order: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """Be what was ordered, from the first line of the product to the end of the process."""
    from reconciler.cli.app import main

    for number, each in enumerate(files, start=1):
        os.dup2(each, number)
    os.closerange(_FIRST_OF_OTHERS, _OPEN_FILES)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    time.tzset()
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["reconciler", *order["start"]]
    main()


def _load() -> None:
    for each in _LOADED:
        import_module(each)
    gc.freeze()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with who asks it, who still has to end what was born here
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
