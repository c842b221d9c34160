"""What an HTTP answer means: bytes in bounds, a status that was expected or not, a result. Pure."""

import zlib
from dataclasses import dataclass

from definitions.expressions import EvaluationError, parse
from definitions.models import Http, Verify
from definitions.values import Json
from reconciler.drivers.answer import BadAnswer, brief, check, text
from reconciler.drivers.answer import parse as parse_answer
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Unknown

_RESULT = frozenset({"result"})


class TooLarge(Exception):
    """The body is larger than it may be, as sent or after decompression."""


class Body:
    """A body as it arrives: unpacked piece by piece, so that 1 MB of gzip cannot become 1 GB before it is noticed."""

    def __init__(self, encoding: str, limit: int) -> None:
        self._limit = limit
        self._received = 0
        self._unpack = zlib.decompressobj(wbits=47) if encoding in {"gzip", "x-gzip", "deflate"} else None
        self._data = bytearray()

    def take(self, chunk: bytes) -> None:
        """Add what arrived. Raises TooLarge beyond the limit, zlib.error for a body that is not packed as it says."""
        self._received += len(chunk)
        if self._unpack:
            chunk = self._unpack.decompress(chunk, self._limit + 1 - len(self._data))
        self._data += chunk
        if max(self._received, len(self._data)) > self._limit:
            raise TooLarge

    def finish(self) -> bytes:
        """The whole body. Raises zlib.error if it is cut off."""
        if self._unpack and self._received and not self._unpack.eof:
            raise zlib.error("cut off")
        return bytes(self._data)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. `flaw`: why its body cannot be used though the status is known."""

    status: int
    body: bytes = b""
    flaw: str = ""
    seconds: float = 0.0


def judge(reply: Reply, http: Http, *, uses_result: bool, limit: int) -> Ended:
    """How the call ended. `limit`: bytes of the result as JSON."""
    if reply.flaw:
        return Ended(succeeded=False, code=reply.status, message=reply.flaw)
    if not expected(reply.status, http):
        excerpt = brief(text(reply.body, 4096))
        message = f"status {reply.status}" + (f": {excerpt}" if excerpt else "")
        return Ended(succeeded=False, result=_lenient(reply, limit), code=reply.status, message=message)
    if not uses_result:
        return Ended(succeeded=True, result=_lenient(reply, limit), code=reply.status)
    try:
        return Ended(succeeded=True, result=parse_answer(reply.body, limit), code=reply.status)
    except BadAnswer as error:
        return Ended(succeeded=False, code=reply.status, message=f"{error}")


def expected(status: int, http: Http) -> bool:
    """Whether the block counts `status` as success."""
    return 200 <= status < 300 if http.expect_status is None else status in http.expect_status


def says_already_exists(reply: Reply, http: Http, limit: int) -> bool:
    """Whether the answer, whatever its status, says that an equal call was acted on before."""
    if http.already_exists is None or reply.flaw:
        return False
    try:
        return bool(parse(http.already_exists, _RESULT).evaluate({"result": _lenient(reply, limit)}))
    except (EvaluationError, ValueError):
        return False


def judge_verify(reply: Reply, verify: Verify, limit: int) -> Observation:
    """What the status call says about a call whose reply was lost.

    404 and 410 say that the target does not know it. An answer that is not JSON says nothing: a login page must not
    pass for a proof that nothing was started.
    """
    if reply.status in {404, 410}:
        return NotStarted(f"the status call answered {reply.status}: the target does not know it")
    if reply.flaw or not 200 <= reply.status < 300:
        return Unknown(f"the status call answered {reply.status}{': ' if reply.flaw else ''}{reply.flaw}")
    try:
        scope = {"result": parse_answer(reply.body, max(limit, 4 * len(reply.body)))}
        if not parse(verify.found, _RESULT).evaluate(scope):
            return NotStarted("the status call answered that the target does not know it")
        result = parse(verify.result, _RESULT).evaluate(scope)
        check(result, limit)
    except (EvaluationError, ValueError) as error:
        return Unknown(f"the answer of the status call cannot be read: {error}")
    return Ended(succeeded=True, result=result, code=reply.status, message="found by the status call")


def _lenient(reply: Reply, limit: int) -> Json:
    """The JSON in the body, or its text if it is not JSON, or None where it is neither or too large to keep."""
    if not reply.body:
        return None
    try:
        return parse_answer(reply.body, limit)
    except BadAnswer as error:
        return text(reply.body, limit) if str(error).startswith("NotJson") and len(reply.body) * 2 <= limit else None
