"""Why a connection to an engine was never made, in words that name the setting: proof that nothing was sent on it.

What else can happen to a connection proves nothing, and is not told here.
"""

import ssl
from collections.abc import Iterator
from typing import Any

_OURS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")


def never_sent(error: BaseException, setting: str) -> str:
    """What is to be said of the engine, "" where something may have been sent. `setting`: where its host is described."""
    causes = list(_causes(error))
    if flaw := next(filter(None, (_tls(each, setting) for each in causes)), ""):
        return flaw
    return "cannot be reached" if any(isinstance(each, _unmade()) for each in causes) else ""


def hung_up(error: BaseException, setting: str) -> str:
    """What is to be said of an engine that ended its first TLS connection without a word, "" for anything else.

    Engines check certificates when the client has sent its first question already, and some then simply go.
    """
    ended = any(isinstance(each, ssl.SSLEOFError | ConnectionError) for each in _causes(error))
    return f"ends the connection: does it accept our certificate (setting `{setting}.certificate`)?" if ended else ""


def _tls(error: BaseException, setting: str) -> str:
    """What is wrong with certificates."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not accepted (setting `{setting}.ca`): {error.verify_message}"
    if not isinstance(error, ssl.SSLError):
        return ""
    reason = str(error.reason or "")
    if "ALERT" in reason and any(each in reason for each in _OURS):
        return f"does not accept our certificate (setting `{setting}.certificate`): {reason.lower().replace('_', ' ')}"
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return f"does not speak TLS, for which the setting `{setting}.ca` asks"
    return ""


def _unmade() -> tuple[type[BaseException], ...]:
    """The errors of a connection that was never made."""
    import requests
    import urllib3.exceptions

    of_a_client = (requests.exceptions.ConnectTimeout, urllib3.exceptions.NewConnectionError)
    return (ConnectionRefusedError, FileNotFoundError, PermissionError, *of_a_client)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it wraps, by any of the three ways in which urllib3 and requests do."""
    seen: list[BaseException] = []
    left: list[Any] = [error]
    while left and len(seen) < 20:
        each = left.pop()
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            left += [*each.args, each.__cause__, each.__context__, getattr(each, "reason", None)]
    return iter(seen)
