"""What a container says comes in frames: a byte for the stream, three of nothing, four for the length, then the bytes."""

from collections.abc import Iterator

_HEADER = 8
_STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}


class Frames:
    """Takes bytes as they come and gives back (stream, data). `whole`: only complete frames, else also parts of them."""

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._pending = bytearray()
        self._stream = ""
        self._left = 0

    def take(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        """The data in `chunk`, as far as it can be told now."""
        self._pending += chunk
        while self._opened():
            if self._whole and len(self._pending) < self._left:
                return
            data = bytes(self._pending[: self._left])
            del self._pending[: len(data)]
            self._left -= len(data)
            if data:
                yield self._stream, data
            if self._left:
                return

    def _opened(self) -> bool:
        """Whether a frame has begun that still wants bytes."""
        while not self._left:
            if len(self._pending) < _HEADER:
                return False
            self._stream = _STREAMS.get(self._pending[0], "stdout")
            self._left = int.from_bytes(self._pending[4:_HEADER], "big")
            del self._pending[:_HEADER]
        return bool(self._pending)
