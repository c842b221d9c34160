"""The shapes in which a secret value turns up in output: as it is, and as the usual encoders write it."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

# A shorter line or piece of base64 is not telling, and hiding every occurrence of it would black out the rest.
_SHORTEST = 6


def forms(values: Iterable[str]) -> frozenset[bytes]:
    """Every byte string that must not be shown when `values` must not be."""
    return frozenset(form for value in values if value for form in _forms(value))


def _forms(value: str) -> Iterable[bytes]:
    raw = value.encode(errors="surrogatepass")
    yield raw
    for ascii_only in (True, False):
        yield json.dumps(value, ensure_ascii=ascii_only)[1:-1].encode(errors="surrogatepass")
    yield json.dumps(value)[1:-1].replace("/", "\\/").encode()
    yield from (quote(raw, safe=safe).encode() for safe in ("", "/"))
    yield quote_plus(raw).encode()
    yield from _base64(raw)
    yield from (line.strip() for line in raw.splitlines() if len(line.strip()) >= _SHORTEST)


def _base64(raw: bytes) -> Iterable[bytes]:
    """Base64 of the value alone, and the part of it that stays the same wherever the value stands in a longer text."""
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        yield encode(raw)
        for offset in range(3):
            whole = encode(b"\0" * offset + raw)
            first = -(-offset * 8 // 6)
            last = (offset + len(raw)) * 8 // 6
            if last - first >= _SHORTEST:
                yield whole[first:last]
