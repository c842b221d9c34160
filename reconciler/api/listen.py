"""Where the API may listen: checked by the process that serves, and before that by the one that starts it.

An address that others can reach needs a token, because a definition may name things that are nobody else's business.
"""

import ipaddress
from pathlib import Path

from reconciler.errors import SettingsError

DEFAULT_LISTEN = "127.0.0.1:8080"


def guarded(listen: str | None, token_file: Path | None) -> tuple[str, int, str | None]:
    """(host, port, token) to serve with; raises SettingsError for an address or a token file that cannot be used."""
    token = read_token(token_file)
    host, port = parse_listen(listen or DEFAULT_LISTEN)
    if token is None and not is_loopback(host):
        raise SettingsError(
            f"{host} can be reached from elsewhere, and there is no token: "
            "name a file with one in the setting `api.tokenFile`, or listen on 127.0.0.1"
        )
    return host, port, token


def parse_listen(listen: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` as (host, port); raises SettingsError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{listen!r} is not an address; write host:port, for example {DEFAULT_LISTEN}")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path | None) -> str | None:
    """The token in `file`, without the newline at its end; raises SettingsError if there is none."""
    if file is None:
        return None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"api.tokenFile {file} cannot be read: {error}") from error
    if not token:
        raise SettingsError(f"api.tokenFile {file} is empty")
    return token
