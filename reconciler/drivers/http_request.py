"""The http block becomes what goes over the wire: method, URL, headers, bytes. Pure; httpx is behind the next door."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from definitions.models import Http
from definitions.values import Json, spell
from reconciler.urls import Url, read_url

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What frames the message is the driver's alone: two readings of it would be two requests.
_RESERVED: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "idempotency-key",
        "accept-encoding",
        "expect",
    }
)


class BadRequest(ValueError):
    """The block cannot become a request; another attempt would not help."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, ready to be sent."""

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...]
    content: bytes = b""


def read_block(block: Mapping[str, Any]) -> Http:
    """The block as a model, with what templates rendered spelled as text where the wire knows only text.

    Raises BadRequest naming the field.
    """
    texts = {name: _texts(block[name]) for name in ("headers", "form") if isinstance(block.get(name), Mapping)}
    plain = {name: spell(block[name]) for name in ("url", "body") if block.get(name) is not None}
    query = {name: _word(value) for name, value in (block.get("query") or {}).items() if value is not None}
    try:
        return Http.model_validate({**block, **texts, **plain, "query": query})
    except ValueError as error:
        raise BadRequest(_explain(error)) from None


def build(http: Http, call_key: str) -> Outgoing:
    """The call itself. Raises BadRequest."""
    url = _url(http.url, http.query)
    kind, content = _content(http)
    headers = _headers(http, kind)
    return Outgoing(http.method, url, (*headers, ("Idempotency-Key", idempotency_key(call_key))), content)


def build_verify(http: Http, url: str) -> Outgoing:
    """The question what became of it: a GET with the block's own headers, and without a key that could replay an answer."""
    return Outgoing("GET", _url(url, {}), _headers(http, None))


def build_cancel(http: Http, method: str, url: str, call_key: str) -> Outgoing:
    """The request to end it, under a key of its own."""
    key = ("Idempotency-Key", idempotency_key(f"{call_key}/cancel"))
    return Outgoing(method, _url(url, {}), (*_headers(http, None), key))


def idempotency_key(call_key: str) -> str:
    """`call_key` as an RFC 8941 string; letters beyond ASCII, which step names may have, are percent-encoded."""
    return f'"{quote(call_key, safe="/-._~:")}"'


def _url(text: str, query: Mapping[str, Any]) -> Url:
    try:
        url = read_url(text)
    except ValueError as error:
        raise BadRequest(f"E-HTTP-HOST {error}") from None
    if not query:
        return url
    joined = urlencode(query, doseq=True, quote_via=quote)
    separator = "" if url.target.endswith(("?", "&")) else "&" if "?" in url.target else "?"
    return Url(url.scheme, url.host, url.port, f"{url.target}{separator}{joined}" if joined else url.target)


def _content(http: Http) -> tuple[str | None, bytes]:
    given = [
        name
        for name, value in (("json", http.json_body), ("form", http.form), ("body", http.body))
        if value is not None
    ]
    if len(given) > 1:
        raise BadRequest(f"the block has {' and '.join(given)}; a call carries one of them")
    if http.json_body is not None:
        return "application/json", json.dumps(http.json_body, ensure_ascii=False, separators=(",", ":")).encode()
    if http.form is not None:
        return "application/x-www-form-urlencoded", urlencode(http.form).encode()
    if http.body is not None:
        return "text/plain; charset=utf-8", spell(str(http.body)).encode()
    return None, b""


def _headers(http: Http, kind: str | None) -> tuple[tuple[str, str], ...]:
    headers = tuple((name, str(value)) for name, value in http.headers.items())
    for name, value in headers:
        _check_header(name, value)
    given = {name.lower() for name, _ in headers}
    own = (
        ("Accept", "application/json, */*;q=0.5"),
        ("User-Agent", "reconciler"),
        *((("Content-Type", kind),) if kind else ()),
    )
    return (*headers, *(each for each in own if each[0].lower() not in given))


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise BadRequest(f"{name[:60]!r} is not the name of a header")
    if name.lower() in _RESERVED:
        raise BadRequest(f"the header {name} is set by the driver")
    if _CONTROL.search(value) or value != value.strip():
        raise BadRequest(f"the header {name} holds a control character, or begins or ends with a space")


def _texts(values: Mapping[str, Json]) -> dict[str, str]:
    return {name: spell(value) for name, value in values.items() if value is not None}


def _word(value: Json) -> Json:
    """A query value: a list is repeated, everything else is one word."""
    if isinstance(value, list):
        return [spell(each) for each in value if each is not None]
    return spell(value)


def _explain(error: ValueError) -> str:
    details = getattr(error, "errors", None)
    if details is None:
        return "the http block cannot be read"
    first = details(include_input=False, include_url=False)[0]
    return f"http.{'.'.join(map(str, first['loc']))}: {first['msg']}"
