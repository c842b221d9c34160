"""The http driver, and the only door to httpx.

Every call has a connection of its own: no pool can wedge, and no stale keep-alive blurs the one question that matters,
whether a byte of the request may have left. If none has, the call failed; if one may have, only a complete answer is
an answer, and everything else is Unknown (recovery.md 2.3).
"""

import asyncio
import importlib.util
import logging
import ssl
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import certifi
import httpx

from definitions.models import Http
from reconciler.drivers.address_guard import AddressGuard, AddressRefused, HostNotFound, Lookup, look_up
from reconciler.drivers.answer import brief
from reconciler.drivers.http_reply import Body, Reply, TooLarge, judge, judge_verify, says_already_exists
from reconciler.drivers.http_request import BadRequest, Outgoing, build, build_cancel, build_verify, read_block
from reconciler.drivers.protocol import Call, Ended, NoNews, NotStarted, Observation, Running, Unknown
from reconciler.drivers.request import GatheredLog, GuardedLog, LogWriter, fill, without_secrets
from reconciler.secrets.provider import SecretUnavailable
from reconciler.secrets.redaction import Redactor
from state.records import Json

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
)


@dataclass(slots=True)
class _Progress:
    """How far a request got: set just before its first byte is written."""

    sent: bool = False

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True

    def failed(self, reason: str) -> Observation:
        """What a call that failed for `reason` is: proof while nothing was sent, and otherwise nobody knows."""
        if self.sent:
            return Unknown(f"the request was sent, then {reason}")
        return NotStarted(f"nothing was sent: {reason}", refused=True)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One call while the driver works on it."""

    http: Http
    call: Call
    redactor: Redactor
    log: GuardedLog
    seconds: float = field(default=30.0)


class HttpDriver:
    """Calls a URL. Sizes in bytes, `connect_timeout` in seconds; `loopback`: whether this machine may be called."""

    def __init__(
        self,
        *,
        loopback: bool = True,
        response_limit: int = 1 << 20,
        result_limit: int = 64 << 10,
        connect_timeout: float = 10.0,
        lookup: Lookup = look_up,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = AddressGuard(loopback=loopback, lookup=lookup)
        self._response_limit = response_limit
        self._result_limit = result_limit
        self._connect_timeout = connect_timeout
        self._context = context or _trusted()
        self._logs = LogWriter()
        _silence()
        _answer_for_sniffio()

    async def prepare(self, call: Call) -> Json:
        """Nothing to make before the call."""
        return None

    async def start(self, call: Call, handle: Json) -> Observation:
        """Send it. The key makes a resend harmless where the target deduplicates."""
        return await self._turn(call, self._send)

    async def observe(self, call: Call, handle: Json) -> Observation:
        """Ask `verify`, where there is one; an HTTP call leaves nothing else to look at."""
        return await self._turn(call, self._verify)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        """Ask the block's `cancel` to end it."""
        return await self._turn(call, self._cancel)

    async def clean(self, call: Call, handle: Json) -> None:
        """Nothing is left behind."""

    async def close(self) -> None:
        """Let go of the lookup threads."""
        self._guard.close()

    async def _turn(self, call: Call, act: Any) -> Observation:
        """Everything that every method does: fill in secrets, act, take the secrets out of what comes back."""
        try:
            block, redactor = fill(call)
            http = read_block(block)
        except SecretUnavailable as error:
            return Ended(succeeded=False, message=str(error))
        except ValueError as error:
            return Ended(succeeded=False, message=str(error), repeatable=False)
        seconds = http.timeout.total_seconds()
        seconds = seconds if call.remaining is None else min(seconds, max(0.0, call.remaining))
        gathered = GatheredLog(call.log)
        turn = _Turn(http, call, redactor, GuardedLog(gathered, redactor), seconds)
        try:
            return without_secrets(cast(Observation, await act(turn)), redactor)
        except BadRequest as error:
            return Ended(succeeded=False, message=redactor.text(str(error)), repeatable=False)
        finally:
            turn.log.close()
            await self._logs.write(gathered)

    async def _send(self, turn: _Turn) -> Observation:
        reply = await self._exchange(build(turn.http, turn.call.call_key), turn)
        if not isinstance(reply, Reply):
            return reply
        if says_already_exists(reply, turn.http, self._result_limit):
            return await self._adopt(turn, reply)
        return judge(reply, turn.http, uses_result=turn.call.uses_result, limit=self._result_limit)

    async def _adopt(self, turn: _Turn, reply: Reply) -> Observation:
        turn.log.line("the target says that it exists already: adopted")
        if turn.http.verify is None:
            accepted = turn.http.model_copy(update={"expect_status": [reply.status]})
            return judge(reply, accepted, uses_result=turn.call.uses_result, limit=self._result_limit)
        found = await self._verify(turn)
        if isinstance(found, NotStarted):
            return Unknown(f"the target says that it exists already, but {found.proof}")
        return found

    async def _verify(self, turn: _Turn) -> Observation:
        verify = turn.http.verify
        if verify is None:
            return Unknown("an HTTP call without `verify` cannot be looked up")
        reply = await self._exchange(build_verify(turn.http, verify.url), turn)
        if isinstance(reply, Reply):
            return judge_verify(reply, verify, self._result_limit)
        # That the question did not arrive says nothing about the call.
        return Unknown(f"the status call failed: {_reason(reply)}")

    async def _cancel(self, turn: _Turn) -> Observation:
        cancel = turn.http.cancel
        name = f"{turn.http.method} {turn.http.url}"
        if cancel is None:
            return Unknown(f"the block has no `cancel`: what {name} began at the target may still run")
        reply = await self._exchange(build_cancel(turn.http, cancel.method, cancel.url, turn.call.call_key), turn)
        if isinstance(reply, Reply) and 200 <= reply.status < 300:
            return Ended(
                succeeded=False, code=reply.status, message=f"cancelled: {cancel.method} {cancel.url}", cancelled=True
            )
        if turn.http.verify is not None and isinstance(found := await self._verify(turn), Ended):
            return found
        what = f"answered {reply.status}" if isinstance(reply, Reply) else f"failed: {_reason(reply)}"
        return Unknown(f"{cancel.method} {cancel.url} {what}: what {name} began at the target may still run")

    async def _exchange(self, outgoing: Outgoing, turn: _Turn) -> Reply | Observation:
        """One request and its whole answer within the deadline, and a line in the log about it."""
        progress, began = _Progress(), time.monotonic()
        outcome = await self._bounded(outgoing, turn.seconds, progress)
        seconds = time.monotonic() - began
        line = f"{outgoing.method} {outgoing.url} -> "
        if isinstance(outcome, Reply):
            turn.log.line(
                f"{line}{outcome.status}, {len(outcome.body)} bytes, {seconds:.3f} s{outcome.flaw and ', ' + outcome.flaw}"
            )
            turn.log.write(outcome.body)
            return replace(outcome, seconds=seconds)
        turn.log.line(f"{line}{_reason(outcome)}, {seconds:.3f} s")
        return outcome

    async def _bounded(self, outgoing: Outgoing, seconds: float, progress: _Progress) -> Reply | Observation:
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._guard.addresses(outgoing.url.host, outgoing.url.port)
                return await self._first(addresses, outgoing, seconds, progress)
        except AddressRefused as error:
            return Ended(succeeded=False, message=str(error), repeatable=False)
        except HostNotFound as error:
            return progress.failed(str(error))
        except TimeoutError:
            return progress.failed(f"TimedOut: no complete answer within {seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            progress.sent = progress.sent and not isinstance(error, _NEVER_SENT)
            return progress.failed(_explain(error))

    async def _first(self, addresses: Sequence[str], outgoing: Outgoing, seconds: float, progress: _Progress) -> Reply:
        """The answer of the first address that takes a connection: to one that does not, nothing was sent."""
        for address in addresses[:-1]:
            try:
                return await self._call(address, outgoing, seconds, progress)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._call(addresses[-1], outgoing, seconds, progress)

    async def _call(self, address: str, outgoing: Outgoing, seconds: float, progress: _Progress) -> Reply:
        timeout = httpx.Timeout(seconds, connect=min(self._connect_timeout, seconds)).as_dict()
        request = httpx.Request(
            outgoing.method,
            outgoing.url.at(address),
            headers=_wire_headers(outgoing),
            content=outgoing.content or None,
            extensions={"timeout": timeout, "trace": progress.trace, "sni_hostname": outgoing.url.host},
        )
        async with httpx.AsyncHTTPTransport(verify=self._context, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                return await self._read(outgoing.method, response)
            finally:
                await response.aclose()

    async def _read(self, method: str, response: httpx.Response) -> Reply:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"} and method != "HEAD":
            return Reply(
                response.status_code,
                flaw=f"OutputInvalid: the answer is packed as {encoding[:40]!r}, which was not asked for",
            )
        body = Body(encoding, self._response_limit)
        try:
            async for chunk in response.aiter_raw():
                body.take(chunk)
            return Reply(response.status_code, body.finish())
        except TooLarge:
            limit = f"{self._response_limit} bytes (setting `limits.response`)"
            return Reply(
                response.status_code, flaw=f"ResponseTooLarge: status {response.status_code} with more than {limit}"
            )
        except zlib.error:
            return Reply(response.status_code, flaw=f"OutputInvalid: the answer is not the {encoding} that it says")


def _wire_headers(outgoing: Outgoing) -> list[tuple[bytes, bytes]]:
    own = [("Host", outgoing.url.authority), ("Connection", "close"), ("Accept-Encoding", "identity")]
    return [(name.encode("ascii"), value.encode()) for name, value in (*own, *outgoing.headers)]


def _explain(error: Exception) -> str:
    text = brief(str(error))
    if text == "Receive buffer too long":  # h11 stops reading there
        return "ResponseTooLarge: the headers do not end"
    return f"{type(error).__name__}: {text or 'no further word'}"


def _reason(outcome: Observation) -> str:
    match outcome:
        case NotStarted(proof=text) | Unknown(evidence=text) | Ended(message=text) | NoNews(why=text):
            return text
        case Running():
            return "running"


def _trusted() -> ssl.SSLContext:
    """The system's certificate authorities, and certifi's for an image that has none of its own."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _silence() -> None:
    """Both libraries log URLs and headers as they are, and a secret may stand in either."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _answer_for_sniffio() -> None:
    """Say in advance that sniffio is not there, where it is not.

    httpcore tries to import it at every lock and event, eight times a call, and a failed import looks through the
    whole path: that was a third of what a call cost (docs/performance.md).
    """
    if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = cast(Any, None)
