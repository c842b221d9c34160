"""Answers of an engine that come in pieces, read within a bound."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.drivers.frames import Frames

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Said:
    """What an execution wrote while somebody listened. `whole`: until its end, not until the time or room was over."""

    stdout: bytes = b""
    stderr: bytes = b""
    whole: bool = True


def chunks(answer: Any) -> Iterator[bytes]:
    """The body of an answer as it comes."""
    while chunk := answer.raw.read1(_CHUNK):
        yield chunk


def listened(answer: Any, limit: int) -> Said:
    """What an execution says until its end, its silence or `limit` bytes."""
    import urllib3.exceptions

    frames, said = Frames(), {"stdout": bytearray(), "stderr": bytearray()}
    whole = True
    try:
        for chunk in chunks(answer):
            for stream, data in frames.take(chunk):
                said[stream] += data
            if sum(map(len, said.values())) > limit:
                whole = False
                break
    except (urllib3.exceptions.HTTPError, OSError):
        whole = False
    return Said(bytes(said["stdout"]), bytes(said["stderr"]), whole)


def entries(answer: Any, limit: int) -> list[tuple[str, bytes]]:
    """The entries of a log, (stream, bytes), until about `limit` bytes."""
    frames, found, size = Frames(whole=True), [], 0
    for chunk in chunks(answer):
        for stream, data in frames.take(chunk):
            found.append((stream, data))
            size += len(data)
        if size > limit:
            break
    return found


def bounded(stream: Iterator[bytes], limit: int) -> bytes:
    """All of a stream. Raises OSError above `limit` bytes."""
    found = bytearray()
    for chunk in stream:
        found += chunk
        if len(found) > limit:
            raise OSError(f"more than {limit} bytes")
    return bytes(found)
