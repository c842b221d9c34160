"""The API process of a controller: started, kept alive, and ended with it.

It holds one end of a pipe to its parent and ends when that closes, so no API outlives a killed controller.
"""

import asyncio
import os
import sys
from pathlib import Path

import structlog

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0

log = structlog.get_logger("reconciler.service")


class Service:
    """One supervised child process; `listen` None means the default address or the next free port."""

    def __init__(self, state: Path, listen: str | None, token_file: Path | None) -> None:
        self._arguments = ["--state", str(state)]
        self._arguments += ["--listen", listen] if listen else []
        self._arguments += ["--token-file", str(token_file)] if token_file else []
        self._process: asyncio.subprocess.Process | None = None
        self._ours = -1

    async def run(self) -> None:
        """Keep the process running until cancelled; a process that ends is started again, ever more slowly."""
        wait = _FIRST_WAIT
        while True:
            began = asyncio.get_running_loop().time()
            code = await self._once()
            lasted = asyncio.get_running_loop().time() - began
            wait = _FIRST_WAIT if lasted > _LONGEST_WAIT else min(2 * wait, _LONGEST_WAIT)
            log.warning("the API process ended and is started again", code=code, seconds=wait)
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """End the process by closing its pipe, and wait for it a little."""
        self._let_go()
        if self._process and self._process.returncode is None:
            try:
                async with asyncio.timeout(3):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()

    async def _once(self) -> int:
        theirs, self._ours = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "reconciler.api.serve",
                *self._arguments,
                "--parent-fd",
                str(theirs),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C at the terminal is the parent's; the pipe tells the rest
            )
        finally:
            os.close(theirs)
        try:
            return await self._process.wait()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1
