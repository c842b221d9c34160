"""Executions that speak, heard by the event loop: a command that runs for hours needs no thread that waits for it."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from reconciler.drivers.frames import Frames

_CHUNK = 65536
_LATER = (BlockingIOError, ssl.SSLWantReadError)


class Speech:
    """What one execution says, beginning with the bytes `first`; `close` lets go of its `connection`.

    `over`: nothing more is heard. `whole`: because it has ended, and all of it is in `said`, within `limit` bytes.
    """

    def __init__(self, connection: socket.socket, first: bytes, limit: int, close: Callable[[], None]) -> None:
        self._connection = connection
        self._first = first
        self._limit = limit
        self._close = close
        self._frames = Frames()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self.said = {"stdout": bytearray(), "stderr": bytearray()}
        self.whole = False

    @property
    def over(self) -> bool:
        return self._over.is_set()

    async def hear(self, seconds: float) -> None:
        """Listen from now on; returns when it is over, or after `seconds`."""
        self._connection.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._connection.fileno(), self._readable)
        self._keep(self._first)
        self._readable()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    def close(self) -> None:
        """It is not needed any more; what it tells of goes on."""
        if self.over:
            return
        self._over.set()
        with suppress(OSError):
            if self._loop:
                self._loop.remove_reader(self._connection.fileno())
        self._close()

    def _readable(self) -> None:
        try:
            while not self.over and (chunk := self._connection.recv(_CHUNK)):
                self._keep(chunk)
        except _LATER:
            return
        except OSError:
            self.close()
        self.whole = not self.over
        self.close()

    def _keep(self, chunk: bytes) -> None:
        for stream, data in self._frames.take(chunk):
            self.said[stream] += data
        if sum(map(len, self.said.values())) > self._limit:
            self.close()
