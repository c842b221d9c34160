"""The door to Docker engines before something that is none: it says nothing, it says nonsense, it goes."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.engine import Address, Engine
from reconciler.drivers.protocol import Call, NoNews, NotStarted, Unknown
from tests.calls import make_call

TARGET = {"id": "a" * 64, "name": "web", "host": "here", "since": "2026-01-01T00:00:00Z"}
HANDLE = {"exec": "e" * 64, "receipt": True, "lasting": True}
NONSENSE = [b'{"x": 1}', b"<html>", b"[]", b""]


class Answers:
    """Listens like an engine and gives everybody the same answer; None: none at all."""

    def __init__(self, path: Path, body: bytes | None) -> None:
        self._body = body
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(50)
        self._kept: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._door, *self._kept):
            each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                guest, _ = self._door.accept()
                self._kept.append(guest)
                if self._body is not None:
                    guest.recv(65536)
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._body)}\r\nConnection: close\r\n\r\n"
                    guest.sendall(head.encode() + self._body)


@pytest.fixture
def told(request, tmp_path) -> Iterator[Address]:
    made = Answers(tmp_path / "engine", request.param)
    yield Address(f"unix://{tmp_path / 'engine'}")
    made.close()


@pytest.fixture
async def driver(told):
    made = ContainerDriver({"here": Engine("here", told, seconds=0.2)}, "controller")
    yield made
    await made.close()


def calls() -> list[Call]:
    exec_ = {"exec": ["true"], "in": {"ids": ["a"]}, "target": TARGET}
    return [make_call(exec_), make_call({"run": {"image": "local/busybox:1"}, "on": ["here"]})]


@pytest.mark.parametrize("told", [None, *NONSENSE], indirect=True)
async def test_whoever_is_no_engine_proves_nothing_and_is_not_waited_for_without_end(driver) -> None:
    began = time.monotonic()
    for call, handle in zip(calls(), (HANDLE, {"container": "c"}), strict=True):
        assert await driver.prepare(call) is None
        assert isinstance(await driver.start(call, handle), Unknown)
        for each in (handle, None):
            seen = await driver.observe(call, each)
            assert isinstance(seen, NoNews) and "it is asked again" in seen.why, seen
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("told", [None, *NONSENSE], indirect=True)
async def test_whoever_is_no_engine_knows_no_targets(driver) -> None:
    seen = await driver.start(make_call({"exec": ["true"], "in": {"names": ["web"]}}), None)

    assert isinstance(seen, NotStarted) and seen.refused
    assert seen.proof.startswith("the targets are not known: the engine here has ")
