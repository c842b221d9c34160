"""A target that costs next to nothing, in a process of its own: it answers at once and remembers when it was asked.

Times are of the monotonic clock, which all processes of a machine share, so they can be compared with those of the
bench. `/-/take` hands over what was remembered and forgets it; `/-/count` only counts. `/later` answers that it is not
ready yet, `/never` does not answer.
"""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

_BODY = b'{"age": 20, "ready": true}'
_LATER = b'{"age": 0, "ready": false}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when it was there, when its answer was written (monotonic seconds), and its query."""

    asked: float
    answered: float
    query: dict[str, str]


class Target:
    """`with Target() as target:` runs the server on a free port of loopback."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.target"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    @property
    def count(self) -> int:
        """Requests since the last `take`."""
        return int(self._ask("count"))

    def take(self) -> list[Arrival]:
        """What has arrived since the last time, in the order of arrival."""
        rows = self._ask("take")
        return [Arrival(asked, answered, dict(parse_qsl(urlsplit(path).query))) for asked, answered, path in rows]

    def wait(self, count: int, seconds: float = 120.0) -> None:
        """Until `count` requests have arrived; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while (found := self.count) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {count} requests arrived within {seconds:g} s")
            time.sleep(0.05)

    def _ask(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/-/{what}", timeout=30) as answer:
            return json.load(answer)


class _Answering(asyncio.Protocol):
    """One connection, one request, one answer."""

    arrivals: list[tuple[float, float, str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        if b"\r\n\r\n" not in self.data:
            return
        path = self.data.split(b" ", 2)[1].decode()
        self.data = b""
        asked = time.monotonic()
        if path.startswith("/-/"):
            self._answer(json.dumps(self._control(path)).encode())
        elif path.startswith("/never"):
            self.arrivals.append((asked, asked, path))
        else:
            self._answer(_LATER if path.startswith("/later") else _BODY)
            self.arrivals.append((asked, time.monotonic(), path))

    def _control(self, path: str) -> object:
        if path == "/-/count":
            return len(self.arrivals)
        taken = list(self.arrivals)
        self.arrivals.clear()
        return taken

    def _answer(self, body: bytes) -> None:
        self.transport.write(_HEAD % len(body) + body)
        self.transport.close()


async def serve() -> None:
    """Until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
