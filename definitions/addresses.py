"""Which hosts no HTTP call may ever reach, whoever allows what: metadata services, link-local and the like.

Libraries disagree on what an address is: the resolver takes `2130706433` and `0x7f.1` for 127.0.0.1, Python's
`ipaddress` rejects both, and calls metadata addresses global. So a literal is read here in every spelling a resolver
takes, and addresses that carry another one inside (mapped, 6to4, NAT64) are judged by what they carry. No I/O: a name
is looked up, and each of its addresses judged again by `always_denied`, where the call is made.
"""

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network

Address = IPv4Address | IPv6Address

_METADATA = frozenset({"168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"})
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_PART = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_IDEOGRAPHIC_DOTS = str.maketrans({"。": ".", "．": ".", "｡": "."})


def forbidden(host: str) -> str | None:
    """Why `host`, the literal host of a URL (IPv6 with or without brackets), is refused; None for a usable one.

    Names pass, except those of metadata services. Loopback passes: whether it may be called is a matter of policy.
    """
    text = _normal(host)
    if not text or any(char.isspace() or char in '\\@%/?#"<>^`{|}' or not char.isprintable() for char in text):
        return "it is not the name of a host"
    if text.rstrip(".") in _METADATA_NAMES:
        return "it is the name of a metadata service"
    address = literal_address(text)
    if address is None:
        return "it is neither a name nor an address" if _looks_numeric(text) else None
    if reason := always_denied(address):
        return reason
    if str(address) != str(_plain(text) or ""):
        return f"it is another spelling of {address}; write that"
    inner = carried(address)
    return f"it is another spelling of {inner}; write that" if inner is not None else None


def always_denied(address: Address) -> str | None:
    """Why no call may go to `address` (or to the one it carries inside); None if policy may allow it."""
    inner = carried(address)
    if inner is not None:
        return always_denied(inner)
    if str(address) in _METADATA:
        return f"{address} is a metadata service"
    if address.is_link_local:
        return f"{address} is a link-local address, where metadata services live"
    if address.is_unspecified or (address.version == 4 and int(address) >> 24 == 0):
        return f"{address} is no address of a host"
    if address.is_multicast or (address.is_reserved and not address.is_loopback):
        return f"{address} is a multicast or reserved address"
    return None


def carried(address: Address) -> IPv4Address | None:
    """The IPv4 address inside a mapped, compatible, 6to4, Teredo or NAT64 address; None if there is none."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = int(address) & 0xFFFFFFFF
    compatible = int(address) >> 32 == 0 and low > 0xFFFF
    return IPv4Address(low) if compatible or any(address in network for network in _NAT64) else None


def literal_address(host: str) -> Address | None:
    """The address that a resolver takes `host` for without asking anyone, in any spelling; None for a name."""
    text = _normal(host)
    plain = _plain(text)
    return plain if plain is not None else _loose(text.rstrip("."))


def _normal(host: str) -> str:
    text = unicodedata.normalize("NFKC", host.translate(_IDEOGRAPHIC_DOTS)).casefold()
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _plain(text: str) -> Address | None:
    try:
        return IPv6Address(text.partition("%")[0]) if ":" in text else IPv4Address(text)
    except AddressValueError:
        return None


def _looks_numeric(text: str) -> bool:
    last = text.rstrip(".").rpartition(".")[2]
    return ":" in text or _PART.fullmatch(last) is not None


def _loose(text: str) -> IPv4Address | None:
    """What `inet_aton` reads: one to four parts, each decimal, octal (leading 0) or hexadecimal (leading 0x)."""
    parts = text.split(".")
    if len(parts) > 4 or not all(_PART.fullmatch(part) and len(part) <= 64 for part in parts):
        return None
    try:
        *high, low = [_number(part) for part in parts]
    except ValueError:
        return None
    if any(part > 255 for part in high) or low >= 1 << 8 * (4 - len(high)):
        return None
    value = low
    for position, part in enumerate(high):
        value |= part << 8 * (3 - position)
    return IPv4Address(value)


def _number(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") and part != "0" else int(part)
