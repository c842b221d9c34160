"""Six small APIs on loopback, so that a newcomer's first workflow has something to call.

They are the APIs of the grade example: api1 echoes a name, api2 needs a while before it knows an age, the others answer
at once. api1 is out of order for one name until somebody asks for `/mend`, so that there is a failure to look at. The service counts what it is asked, by path and by idempotency key, so that anyone can see for themselves that
nothing was called twice. Standard library only, and it never listens beyond this machine.
"""

import ipaddress
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from reconciler.errors import SettingsError

DEFAULT_LISTEN = "127.0.0.1:9999"
DEFAULT_NOT_READY = 2
OUT_OF_ORDER = "dave"
"""The name that api1 cannot answer for until it is mended."""

Answer = Mapping[str, object]


class Counts:
    """How often each path was asked for, and each idempotency key used; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._polls: Counter[str] = Counter()

    def add(self, path: str, key: str) -> None:
        """One request for `path`; `key` is "" where the caller sent none."""
        with self._lock:
            self._paths[path] += 1
            if key:
                self._keys[f"{path} {key}"] += 1

    def poll(self, work: str) -> int:
        """How many polls there were for `work`, this one included."""
        with self._lock:
            self._polls[work] += 1
            return self._polls[work]

    def report(self) -> dict[str, dict[str, int]]:
        """`{paths: {path: calls}, keys: {"path key": calls}}`, sorted."""
        with self._lock:
            return {"paths": dict(sorted(self._paths.items())), "keys": dict(sorted(self._keys.items()))}


class DemoService:
    """What the six APIs know. `not_ready` is how many polls of one attempt api2 answers with no age yet."""

    def __init__(self, not_ready: int = DEFAULT_NOT_READY) -> None:
        self.counts = Counts()
        self._not_ready = not_ready
        self._mended = threading.Event()
        self._answers: Mapping[str, Callable[[Mapping[str, str], str], Answer]] = {
            "/": lambda _query, _key: {"apis": sorted(self._answers), "counts": self.counts.report()["paths"]},
            "/hello": lambda query, _key: {"message": f"hello, {query.get('name', 'world')}"},
            "/api1": lambda query, _key: {"name": query.get("name", "")},
            "/api2": self._age,
            "/api3": lambda _query, _key: {"sex": "m"},
            "/api4": lambda query, _key: {"isold": _number(query.get("age", "")) >= 30},
            "/api5": lambda _query, _key: {"grade": "A"},
            "/api6": lambda _query, _key: {"msg": "ok"},
            "/counts": lambda _query, _key: self.counts.report(),
            "/mend": lambda _query, _key: self._mend(),
        }

    def answer(self, path: str, query: Mapping[str, str], key: str) -> tuple[int, Answer]:
        """Status and body for one request; everything but `/`, `/counts` and `/mend` is counted."""
        reply = self._answers.get(path)
        if reply is None:
            return 404, {"error": f"there is no {path}", "apis": sorted(self._answers)}
        if path not in {"/", "/counts", "/mend"}:
            self.counts.add(path, key)
        if path == "/api1" and query.get("name") == OUT_OF_ORDER and not self._mended.is_set():
            return 503, {"error": f"out of order for {OUT_OF_ORDER}; somebody has to mend it"}
        return 200, reply(query, key)

    def _mend(self) -> Answer:
        self._mended.set()
        return {"mended": OUT_OF_ORDER}

    def _age(self, query: Mapping[str, str], key: str) -> Answer:
        """All polls of one attempt share the key up to its last part; without a key, those of one name."""
        work = key.rpartition("/")[0] or f"name={query.get('name', '')}"
        return {"age": 0 if self.counts.poll(work) <= self._not_ready else 30}


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9999`; raises SettingsError for what is not a loopback address."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{text!r} is not an address to listen on; write 127.0.0.1:9999 (port 0 takes a free one)")
    if not _loopback(host):
        raise SettingsError(f"the demo service listens on loopback only, not on {host!r}; write 127.0.0.1:{port}")
    return host, int(port)


def start(listen: str, not_ready: int = DEFAULT_NOT_READY) -> ThreadingHTTPServer:
    """A bound server that `serve_forever` runs; `server_address` tells its port. Raises SettingsError."""
    host, port = parse_listen(listen)
    try:
        return _Server((host, port), _handler(DemoService(not_ready)))
    except OSError as error:
        raise SettingsError(f"cannot listen on {listen}: {error.strerror}; choose another with --listen") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(service: DemoService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._reply()

        def do_HEAD(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self.rfile.read(min(_number(self.headers.get("Content-Length", "")), 1 << 20))
            self._reply()

        def _reply(self) -> None:
            url = urlsplit(self.path)
            key = self.headers.get("Idempotency-Key", "").strip('"')  # a quoted string, as its Internet-Draft says
            status, answer = service.answer(url.path, dict(parse_qsl(url.query)), key)
            body = json.dumps(answer).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: whoever started it wants to read other lines."""

    return Handler


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
