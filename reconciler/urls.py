"""One reading of a URL for everybody who judges or calls it: two parsers that differ over a host are a hole.

The authority is what stands between `://` and the first of `/ ? #`; nothing that some parser reads differently is let
through. Pure.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from definitions.addresses import forbidden

_PORTS = {"http": 80, "https": 443}
# Everything that may stand in a path and query as it is; `%` because what is encoded already stays so.
_SAFE = "%/?:@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class Url:
    """An http(s) URL in parts. `host` is lower-case ASCII, IPv6 without brackets; `target` begins with a slash."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """The same URL, at `address` in place of the host."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.target}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def read_url(text: str) -> Url:
    """`text` in parts. Raises ValueError, for people, when it is no http(s) URL, names a user, or a forbidden host."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise ValueError(f"{text[:80]!r} is not an http:// or https:// URL")
    end = next((index for index, char in enumerate(rest) if char in "/?#"), len(rest))
    host, port = _authority(rest[:end], _PORTS[scheme])
    target = rest[end:].partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    return Url(scheme, host, port, quote(target, safe=_SAFE))


@lru_cache(maxsize=1024)  # policy and the driver both read every URL, and the hosts are few
def _authority(text: str, default: int) -> tuple[str, int]:
    if "@" in text:
        raise ValueError("a URL must not name a user: send credentials in a header, with a secret reference")
    host, bracket, tail = text[1:].partition("]") if text.startswith("[") else _plain_host(text)
    if text.startswith("[") and (not bracket or (tail and not tail.startswith(":"))):
        raise ValueError(f"{text[:80]!r} is not a host and port")
    ascii_host = _ascii(host)
    if reason := forbidden(f"[{ascii_host}]" if bracket else ascii_host):
        raise ValueError(f"the host {host[:80]!r} cannot be called: {reason}")
    return ascii_host.rstrip("."), _port(tail.removeprefix(":"), default)


def _plain_host(text: str) -> tuple[str, str, str]:
    host, _, port = text.partition(":")
    return host, "", port


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 65536):
        raise ValueError(f"{text[:20]!r} is not a port")
    return int(text)


def _ascii(host: str) -> str:
    try:
        return host.lower() if host.isascii() else host.encode("idna").decode().lower()
    except UnicodeError:
        raise ValueError(f"{host[:80]!r} is not the name of a host") from None
