"""Stands between a host's name and a connection: a name is looked up one time, every address it has is judged, and only a judged address is handed out.

So a name that changes its address between the check and the call (DNS rebinding) reaches nothing new.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from definitions.addresses import always_denied, carried

Lookup = Callable[[str, int], Sequence[str]]
"""(host, port) -> its addresses as text; blocking; raises OSError."""


class AddressRefused(Exception):
    """The host has an address that must not be called; the text begins with E-HTTP-HOST."""


class HostNotFound(Exception):
    """The host has no address now."""


def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of `host` in the resolver's order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class AddressGuard:
    """`loopback`: whether addresses of this machine may be called. Lookups use at most eight threads."""

    def __init__(self, *, loopback: bool, lookup: Lookup = look_up) -> None:
        self._loopback = loopback
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="lookup")

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Every address of `host`, all of them judged. Raises AddressRefused if one is denied, HostNotFound for none."""
        literal = _literal(host)
        found = (literal,) if literal else await self._resolve(host, port)
        for text in found:
            self._judge(host, text)
        return tuple(found)

    def close(self) -> None:
        """Let go of the threads; a lookup that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        except (OSError, UnicodeError) as error:
            raise HostNotFound(f"the host {host} was not found: {getattr(error, 'strerror', None) or error}") from None
        if not found:
            raise HostNotFound(f"the host {host} has no address")
        return found

    def _judge(self, host: str, text: str) -> None:
        if reason := _denied(text.partition("%")[0], loopback=self._loopback):
            raise AddressRefused(f"E-HTTP-HOST the host {host} cannot be called: {reason}")


@lru_cache(maxsize=1024)  # an address stays what it is, and a poll calls the same one for ever
def _denied(text: str, *, loopback: bool) -> str | None:
    address = ip_address(text)
    reason = always_denied(address)
    inner = carried(address) or address
    if reason is None and not loopback and inner.is_loopback:
        return f"{address} is a loopback address (setting `drivers.http.loopback`)"
    return reason


@lru_cache(maxsize=1024)
def _literal(host: str) -> str | None:
    for kind in (IPv4Address, IPv6Address):
        try:
            return str(kind(host))
        except ValueError:
            continue
    return None
