"""A real HTTP server on loopback that counts what reaches it and fails as it is told: the target of HTTP tests."""

import gzip
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What arrived. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")


Route = Callable[[Request, socket.socket], None]


class Loopback:
    """`with Loopback() as server:`; a route is a function of request and socket, see below for ready-made ones."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[Request] = []
        self.executions: Counter[str] = Counter()  # idempotency key -> how often the work was really done
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(
                socket.SHUT_RDWR
            )  # wakes its thread, which may else take what is meant for the next listener
        self._listener.close()
        for connection in list(self._open):
            connection.close()

    def execute(self, request: Request) -> bool:
        """Do the work behind a key unless it was done before; whether it was done now."""
        self.executions[request.key] += 0
        if self.executions[request.key]:
            return False
        self.executions[request.key] += 1
        return True

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with connection:
                if request := _read(connection):
                    self.requests.append(request)
                    self.routes.get(request.path, answer(404))(request, connection)
        except OSError:
            pass
        finally:
            self._open.discard(connection)


def _read(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("utf-8").split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Request(method, target, headers, body)


def response(status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    given = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body


def answer(
    status: int = 200, value: object = None, *, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Route:
    data = body if body is not None else b"" if value is None else json.dumps(value).encode()
    return lambda _request, connection: connection.sendall(response(status, data, headers))


def silence(seconds: float = 30.0) -> Route:
    def route(_request: Request, connection: socket.socket) -> None:
        connection.settimeout(seconds)
        connection.recv(1)

    return route


def drip(interval: float = 0.02, *, length: int = 1_000_000) -> Route:
    def route(_request: Request, connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        while True:
            connection.sendall(b"x")
            time.sleep(interval)

    return route


def endless_body() -> Route:
    def route(_request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    return route


def endless_headers() -> Route:
    def route(_request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: " + b"y" * 1000 + b"\r\n")

    return route


def reset() -> Route:
    def route(_request: Request, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return route


def truncate() -> Route:
    return lambda _request, connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def gzip_bomb(size: int = 50 << 20) -> Route:
    packed = gzip.compress(b"\0" * size, 9)
    return answer(200, body=packed, headers={"Content-Encoding": "gzip"})
