"""What every request passes first: who may read, which headers every answer carries, and HEAD as GET without a body.

On loopback no token is needed, but then only requests that name this machine are answered, so a web page elsewhere
cannot read the API through a host name that it points here. With a token every request but the probes must carry it.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.api.problems import problem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="reconciler", Basic realm="reconciler"'}


class Gate:
    """ASGI middleware around the whole application; `token` None means that only loopback is served."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal:
            status, text, headers = refusal
            await problem(status, text, scope["path"], headers)(scope, receive, _with_headers(send))
            return
        inner = {**scope, "method": "GET", "head": True} if scope["method"] == "HEAD" else scope
        await self._app(inner, receive, _with_headers(send, silent=scope["method"] == "HEAD"))

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str, dict[str, str]] | None:
        if path in OPEN_PATHS:
            return None
        if self._token is None:
            if names_this_machine(headers.get("host", "")):
                return None
            return 403, "without a token only requests to this machine's own names are answered", {}
        if matches(headers.get("authorization", ""), self._token):
            return None
        return 401, "a token is needed: send `Authorization: Bearer <token>`", _CHALLENGE


def matches(header: str, token: str) -> bool:
    """Whether an Authorization header carries `token`: as Bearer, or as the password of Basic (for browsers)."""
    scheme, _, value = header.partition(" ")
    given = value.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def names_this_machine(host: str) -> bool:
    """Whether a Host header (`name`, `name:port`, `[::1]:port`) is localhost or a loopback address."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower().rstrip(".") == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send, *, silent: bool = False) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _standing():
                headers.setdefault(name, value)
        elif silent and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sending


def _standing() -> Iterable[tuple[str, str]]:
    return (
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", API_POLICY),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    )
