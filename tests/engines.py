"""A Docker engine for tests: the one at DOCKER_HOST. What a test makes there carries a label and goes at its end."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import docker
import pytest

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.engine import Address, Engine

IMAGE = "local/busybox:1"
MARK = "reconciler.test"


def test_engine() -> "TestEngine":
    """The engine, or a skip with the reason; where one must be there (NEEDS_ENGINE) a failure."""
    address = os.environ.get("DOCKER_HOST", "")
    if not address:
        reason = "no Docker engine: DOCKER_HOST is not set"
        if os.environ.get("NEEDS_ENGINE"):
            pytest.fail(reason)
        pytest.skip(reason)
    return TestEngine(address)


test_engine.__test__ = False  # type: ignore[attr-defined]  # a fixture's maker, not a test


def definitions_in(folder: Path, *texts: str) -> Path:
    """A folder source with these documents in one file."""
    made = folder / "definitions"
    made.mkdir(exist_ok=True)
    (made / "all.yaml").write_text("".join(texts))
    return made


class TestEngine:
    """One test's part of an engine."""

    __test__ = False

    def __init__(self, address: str) -> None:
        self.address = address
        self.mark = uuid.uuid4().hex[:12]
        self.client = docker.APIClient(base_url=address, version="auto", timeout=30)
        self.drivers: list[ContainerDriver] = []
        self.owner = uuid.uuid4().hex
        self._target: dict[str, Any] | None = None

    def driver(self, **options: Any) -> ContainerDriver:
        """A driver whose host `here` is the engine, and `nowhere` none."""
        engines = {
            "here": Engine("here", Address(self.address), seconds=options.pop("seconds", 20.0)),
            "nowhere": Engine("nowhere", Address("unix:///nowhere/docker.sock")),
        }
        self.drivers.append(ContainerDriver(engines, self.owner, **options))
        return self.drivers[-1]

    def container(self, *command: str, image: str = IMAGE, labels: dict[str, str] | None = None, **host: Any) -> str:
        """A running container; its id."""
        config = {
            "Image": image,
            "Cmd": list(command) or ["sleep", "600"],
            "Labels": {MARK: self.mark, **(labels or {})},
            "StopSignal": "SIGKILL",
            "HostConfig": {"Init": False, **host},
        }
        made = self.client.create_container_from_config(config, host.pop("name", None))["Id"]
        self.client.start(made)
        return str(made)

    def target(self, container: str = "", *, binds: list[str] | None = None) -> dict[str, Any]:
        """A container as the driver finds it: this one, or the test's own."""
        if self._target is None or container:
            found = self.client.inspect_container(container or self.container(Binds=binds or []))
            since = found["State"]["StartedAt"]
            self._target = {"id": found["Id"], "name": found["Name"].strip("/"), "host": "here", "since": since}
        return dict(self._target)

    def run(self, container: str, *words: str) -> str:
        """What a command in a container says, by the engine alone."""
        made = self.client.exec_create(container, list(words))["Id"]
        return str(self.client.exec_start(made).decode(errors="replace"))

    def cut_start(self, execution: str) -> None:
        """Ask for the start of an execution and hang up at once."""
        body = b'{"Detach": false, "Tty": false}'
        head = f"POST /v{self.client.api_version}/exec/{execution}/start HTTP/1.1\r\nHost: engine\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(socket_of(self.address)))
            connection.sendall(head.encode() + body)

    def adopt(self, state: Path) -> None:
        """What the controller of this state folder made counts as this test's."""
        with sqlite3.connect(f"file:{state / 'state.db'}?mode=ro", uri=True) as database:
            (row,) = database.execute("SELECT value FROM meta WHERE name = 'controller'").fetchall()
        self.owner = row[0]

    def names(self) -> list[str]:
        """The containers of this test's controller, running or not."""
        found = self.client.containers(all=True, filters={"label": f"reconciler.dev/controller={self.owner}"})
        return [each["Names"][0].strip("/") for each in found]

    def close(self) -> None:
        """Let go of everything that the test made."""
        for driver in self.drivers:
            asyncio.run(driver.close())
        self.clear()
        self.client.close()

    def clear(self) -> None:
        """Remove the containers of this test and of its controller."""
        for label in (f"{MARK}={self.mark}", f"reconciler.dev/controller={self.owner}"):
            for each in self.client.containers(all=True, filters={"label": label}):
                self.client.remove_container(each["Id"], force=True, v=True)


class OwnEngine:
    """An engine that nobody else uses, so that a test may stop, kill and start it. Started by the scripts in ENGINES."""

    def __init__(self, name: str) -> None:
        folder = os.environ.get("ENGINES", "")
        self._up = Path(folder) / "docker-up"
        self._name = name
        if not folder or not self._up.exists():
            reason = (
                f"no engine of our own: there is no {self._up}"
                if folder
                else "no engine of our own: ENGINES is not set"
            )
            if os.environ.get("NEEDS_ENGINE"):
                pytest.fail(reason)
            pytest.skip(reason)
        self.address = self.up()

    def up(self) -> str:
        """Start it unless it runs; its address."""
        environ = {**os.environ, "ENGINE": self._name}
        said = subprocess.run(
            ["bash", self._up], env=environ, check=True, stdout=subprocess.PIPE, text=True, timeout=60
        )
        return said.stdout.partition("DOCKER_HOST=")[2].strip()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; TERM and KILL are waited for."""
        folder = socket_of(self.address).parent
        files = [folder / "dockerd.pid", folder / "exec" / "containerd" / "containerd.pid"]
        pids = [int(file.read_text()) for file in files]
        os.kill(pids[0], number)
        if number in {signal.SIGTERM, signal.SIGKILL}:
            deadline = time.monotonic() + 30
            while not all(map(_gone, pids)):
                assert time.monotonic() < deadline, "the engine does not end"
                time.sleep(0.05)
            for file in (*files, folder / "pid" / "dockerd"):
                file.unlink(missing_ok=True)  # a number that nobody has waited for seems to run

    def restart(self, number: signal.Signals) -> None:
        """End it by a signal and start it anew."""
        self.send(number)
        self.up()

    def down(self) -> None:
        """Stop it and its containers; its images stay for the next time."""
        down = self._up.with_name("docker-down")
        subprocess.run(["bash", down], env={**os.environ, "ENGINE": self._name}, check=True, timeout=60)


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def socket_of(address: str) -> Path:
    """The file of a `unix://` address."""
    return Path(address.removeprefix("unix://"))
