"""What a client may cost before its request is understood: limits on the time, size and number of request headers.

uvicorn bounds idle connections and their number, not a head that drips in or never ends, so its protocol is wrapped
here. A client that reads its answer slowly only keeps its own connection: no read transaction is open meanwhile.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 32 * 1024
HEAD_LINES = 100
CONNECTIONS = 512

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # chosen at run time by uvicorn
    """uvicorn's HTTP protocol that ends a connection whose request head is too slow, too long or has too many lines."""

    def __init__(self, config: Config, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self._head_bytes = 0
        self._head_lines = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is there; it has `HEAD_SECONDS` to ask something."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a request head before the parser sees it."""
        before = self.cycle
        if before is None or before.response_complete:
            if self._head_timer is None:
                self._expect_head()
            if self._too_large(data):
                self._end(_TOO_LARGE)
                return
        super().data_received(data)
        if self.cycle is not before:
            self._head_complete()

    def _too_large(self, data: bytes) -> bool:
        head, _, _ = data.partition(b"\r\n\r\n")
        self._head_bytes += len(head)
        self._head_lines += head.count(b"\n")
        return self._head_bytes > HEAD_BYTES or self._head_lines > HEAD_LINES

    def _expect_head(self) -> None:
        self._head_bytes = self._head_lines = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end, _TOO_SLOW)

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end(self, answer: bytes) -> None:
        self._head_complete()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
