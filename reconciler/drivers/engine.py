"""The only door to the docker package: one engine, blocking calls in threads of its own, a deadline on each.

Only the low-level client is used, and its version is negotiated by a request of ours, because its constructor would ask
a mute engine without our deadline. It is loaded when an engine is first asked: with what it needs it is a tenth of a
start, and most controllers have no engine. Every way to fail is one of three, and they differ in what may have happened:
Unreachable (nothing was sent), NoAnswer (nobody knows), Refused (the engine has said no).
"""

import asyncio
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reconciler.drivers.engine_answers import Said, bounded, chunks, entries, listened
from reconciler.drivers.engine_flaws import hung_up, never_sent
from reconciler.drivers.frames import Frames
from reconciler.drivers.listening import Speech

T = TypeVar("T")

_THREADS = 24
_CONNECT = 10.0
_CHUNK = 65536
_MAKING = 3.0  # seconds in which an engine tells of a container that it makes


class EngineError(Exception):
    """The engine did not do what it was asked for."""


class Unreachable(EngineError):
    """No connection: nothing was sent."""


class NoAnswer(EngineError):
    """It was asked, and its answer was lost: nobody knows what it did."""


class Refused(EngineError):
    """It answered no. `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def missing(self) -> bool:
        """Whether what was asked about is not there."""
        return self.status == 404


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens: `unix://`, `tcp://` or `ssh://`, and the certificates of a TLS connection (files)."""

    url: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Engine:
    """One engine, called `name`. `seconds`: the deadline of a call. Every method raises EngineError."""

    def __init__(self, name: str, address: Address, *, seconds: float = 30.0) -> None:
        self.name = name
        self._address = address
        self._setting = f"drivers.container.hosts.{name}"
        self.seconds = seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"engine-{name}")
        self._making = threading.Lock()
        self._made: Any = None
        logging.getLogger("docker").setLevel(logging.CRITICAL)  # it logs requests as they are
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)

    @property
    def encrypted(self) -> bool:
        """Whether its connections are TLS: what is sent on them cannot be ended before what is heard."""
        return self._address.ca is not None

    # -- containers --------------------------------------------------------------------------------------------------

    async def containers(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The running containers that have all `labels`, as the engine lists them."""
        wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
        filters = {"status": ["running"], **({"label": wanted} if wanted else {})}
        return await self._ask(lambda client: client.containers(filters=filters))

    async def container(self, name: str) -> dict[str, Any]:
        """What the engine knows of the container with this id or name."""
        return await self._ask(lambda client: client.inspect_container(name))

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Make a container, not started; its id. Refused with 409 where the name is taken, 404 without the image."""
        made = await self._ask(lambda client: client.create_container_from_config(dict(config), name))
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start it."""
        await self._ask(lambda client: client.start(container))

    async def stop(self, container: str, grace: float) -> None:
        """TERM, after `grace` seconds KILL; stopped already is success."""
        seconds = max(0, round(grace))
        await self._ask(lambda client: client.stop(container, timeout=seconds), self.seconds + seconds)

    async def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes; not there is success. One that runs is Refused."""
        try:
            await self._ask(lambda client: client.remove_container(container, v=True))
        except Refused as error:
            if not error.missing:
                raise

    async def pull(self, image: str, seconds: float) -> None:
        """Bring an image; `latest` where it names neither tag nor digest."""
        await self._ask(lambda client: client.pull(image) and None, seconds)

    async def remembers(self, container: str, made: float) -> bool:
        """Whether it has not been started anew since it made this container at `made` (seconds of its clock).

        It keeps its last few hundred events in memory only: having forgotten looks like having been started anew.
        """
        filters = json.dumps({"container": [container], "event": ["create"]})
        params = {"since": f"{made - 1:.0f}", "until": f"{made + _MAKING:.0f}", "filters": filters}

        def read(client: Any) -> bool:
            answer = client.get(_url(client, "events"), params=params, timeout=self._limit())
            _check(client, answer)
            return bool(answer.content.strip())

        return await self._ask(read, self.seconds + _MAKING)

    async def output(self, container: str, since: str, limit: int) -> list[tuple[str, bytes]]:
        """What it wrote from `since` (seconds.nanoseconds) on, entry by entry with its time before it, about `limit` bytes."""

        def read(client: Any) -> list[tuple[str, bytes]]:
            params = {"stdout": 1, "stderr": 1, "timestamps": 1, "since": since}
            url = _url(client, f"containers/{container}/logs")
            with client.get(url, params=params, stream=True, timeout=(_CONNECT, self.seconds)) as answer:
                _check(client, answer)
                return entries(answer, limit)

        return await self._ask(read)

    async def archive(self, container: str, path: str, limit: int) -> bytes | None:
        """The tar archive of `path`, also of a stopped container; None if it is not there. Raises NoAnswer above `limit` bytes."""

        def read(client: Any) -> bytes | None:
            stream, _ = client.get_archive(container, path)
            return bounded(stream, limit)

        try:
            return await self._ask(read)
        except Refused as error:
            if error.missing:
                return None
            raise

    # -- executions --------------------------------------------------------------------------------------------------

    async def execution(self, container: str, command: Sequence[str], options: Mapping[str, Any] | None = None) -> str:
        """Make an execution, not started; its id. `options` are the engine's: User, WorkingDir, Env, Privileged."""
        order = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **(options or {})}

        def make(client: Any) -> str:
            answer = client.post(_url(client, f"containers/{container}/exec"), json=order, timeout=self._limit())
            _check(client, answer)
            return str(answer.json()["Id"])

        return await self._ask(make)

    async def run(self, execution: str, *, limit: int = 4 << 20) -> Said:
        """Start an execution and listen until it ends, or until the deadline's time of silence. It goes on without us."""

        def start(client: Any) -> Said:
            with self._started(client, execution, self._limit()) as answer:
                return listened(answer, limit)

        return await self._ask(start, self.seconds * 2)

    async def begin(self, execution: str, feed: bytes, *, listen: float, limit: int = 4 << 20) -> Said | Speech:
        """Start an execution and give it `feed` as stdin: what it will say, or where only a thread can hear that, what
        it has said after `listen` seconds of silence.
        """

        def start(client: Any) -> Said | Speech:
            answer = self._started(client, execution, (_CONNECT, max(listen, self.seconds)))
            try:
                _give(client, answer, feed)
                connection = _connection(client, answer)
                if isinstance(connection, socket.socket) and not answer.raw.chunked:
                    return Speech(connection, _buffered(connection, answer), limit, answer.close)
                connection.settimeout(listen)
                return listened(answer, limit)
            except BaseException:
                answer.close()
                raise

        return await self._ask(start, self.seconds + listen)

    def attach(self, execution: str, feed: bytes, take: Callable[[bytes, str], None], done: Callable[[], None]) -> None:
        """Start an execution, give it `feed` and hand on what it says, in a thread of its own, until it ends or the engine goes."""

        def listen() -> None:
            try:
                client = self._client()
                with self._started(client, execution, (_CONNECT, None)) as answer:
                    _give(client, answer, feed, last=True)
                    frames = Frames()
                    for chunk in chunks(answer):
                        for stream, data in frames.take(chunk):
                            take(data, stream)
            except Exception:
                logging.getLogger("reconciler.engine").debug("no longer attached", exc_info=True)
            finally:
                done()

        threading.Thread(target=listen, name=f"attached-{execution[:12]}", daemon=True).start()

    async def started(self, execution: str) -> dict[str, Any] | None:
        """`{Running, ExitCode, Pid}` of an execution; None if the engine does not know it (any more)."""
        try:
            return await self._ask(lambda client: client.exec_inspect(execution))
        except Refused as error:
            if error.missing:
                return None
            raise

    async def close(self) -> None:
        """Let go; calls under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._made is not None:
            self._made.close()

    # -- how a call goes ---------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[Any], T], seconds: float | None = None) -> T:
        """`question(client)` in a thread, with an answer or an EngineError by the deadline."""
        limit = (seconds or self.seconds) + _CONNECT
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                return await loop.run_in_executor(self._threads, self._answer, question)
        except TimeoutError:
            raise NoAnswer(f"the engine {self.name} has not answered within {limit:g} s") from None

    def _answer(self, question: Callable[[Any], T]) -> T:
        """In a thread: `question(client)`. Raises EngineError."""
        import docker.errors

        try:
            return question(self._client())
        except (docker.errors.DockerException, OSError) as error:  # what requests raises is an OSError too
            raise self._meaning(error) from None
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise NoAnswer(
                f"the engine {self.name} has answered what cannot be read ({type(error).__name__})"
            ) from None

    def _meaning(self, error: Exception) -> EngineError:
        import docker.errors

        if isinstance(error, docker.errors.APIError):
            return Refused(error.response.status_code, f"the engine {self.name} says: {error.explanation}".strip())
        if flaw := never_sent(error, self._setting):
            return Unreachable(f"the engine {self.name} at {self._address.url} {flaw}")
        if isinstance(error, docker.errors.DockerException):
            where = f"the engine {self.name} at {self._address.url} cannot be used"
            return Unreachable(f"{where} (setting `{self._setting}`): {error}")
        return NoAnswer(f"the engine {self.name} has not answered: {type(error).__name__}")

    def _client(self) -> Any:
        """The client, made when it is first needed and the engine answers."""
        with self._making:
            if self._made is None:
                self._made = self._connect()
            return self._made

    def _connect(self) -> Any:
        import docker
        from docker.constants import DEFAULT_DOCKER_API_VERSION

        where = self._address
        pair = (str(where.certificate), str(where.key)) if where.certificate else None
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=str(where.ca), verify=True) if where.ca else False
        options = {"base_url": where.url, "tls": tls, "timeout": self.seconds, "max_pool_size": _THREADS}
        first = docker.APIClient(version=DEFAULT_DOCKER_API_VERSION, **options)
        first.trust_env = False  # an authority in the environment would count instead of the one in the settings
        try:
            answer = first.get(f"{first.base_url}/version", timeout=self._limit())
            _check(first, answer)
            theirs = str(answer.json()["ApiVersion"])
        except OSError as error:
            flaw = self.encrypted and not never_sent(error, self._setting) and hung_up(error, self._setting)
            if flaw:
                raise Unreachable(f"the engine {self.name} at {where.url} {flaw}") from None
            raise
        finally:
            first.close()
        made = docker.APIClient(version=min(theirs, DEFAULT_DOCKER_API_VERSION, key=_order), **options)
        made.trust_env = False
        return made

    def _limit(self) -> tuple[float, float]:
        return (_CONNECT, self.seconds)

    def _started(self, client: Any, execution: str, limit: tuple[float, float | None]) -> Any:
        """The answer to a start, whose body is what it says. Without the upgrade that the client asks for: no byte can
        be lost in the buffer of a connection that changes its protocol.
        """
        order = {"Detach": False, "Tty": False}
        answer = client.post(_url(client, f"exec/{execution}/start"), json=order, stream=True, timeout=limit)
        _check(client, answer)
        return answer


def _url(client: Any, path: str) -> str:
    return f"{client.base_url}/v{client.api_version}/{path}"


def _check(client: Any, answer: Any) -> None:
    """Raises the client's own error for a status that is none of success."""
    client._raise_for_status(answer)  # noqa: SLF001  # the one place where its reading of an error's text is to be had


def _give(client: Any, answer: Any, data: bytes, *, last: bool = False) -> None:
    """Send stdin over the connection of an execution that was started; `last`: nothing follows."""
    if not data:
        return
    connection = _connection(client, answer)
    connection.sendall(data)
    if last and not isinstance(connection, ssl.SSLSocket):
        connection.shutdown(socket.SHUT_WR)


def _connection(client: Any, answer: Any) -> Any:
    """The connection below an answer; no socket where it goes by ssh."""
    found = client._get_raw_response_socket(answer)  # noqa: SLF001  # the client's own way to it
    return getattr(found, "_sock", found)


def _buffered(connection: socket.socket, answer: Any) -> bytes:
    """What was read from a connection together with the head of the answer."""
    connection.settimeout(0)
    with suppress(ssl.SSLWantReadError):
        return bytes(answer.raw._fp.fp.peek(_CHUNK))  # noqa: SLF001  # nobody else has these bytes
    return b""


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
