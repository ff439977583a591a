"""Recordings of sessions: made from their latents by a process of their own, at low priority, one at a time.

Knows the command and its exit; nothing of tensors or of the web. Invariants: a recording that nobody waits for any more
is ended with its process; a file has lost its name when it
is handed out, so that nothing is left of it once it is closed.
"""

import asyncio
import contextlib
import logging
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal

from service.errors import ErrorCode, SessionError

logger = logging.getLogger(__name__)

FOLDER = "recordings"
Cut = Literal["final", "aired"]
_MOST_SAID = 2000


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    session: str
    cut: Cut
    out: Path


CommandFor = Callable[[RecordingRequest], Sequence[str]]


def record_command(store: Path, *, random_weights: bool) -> CommandFor:
    """The command line that writes a recording."""

    def command(request: RecordingRequest) -> Sequence[str]:
        words = [sys.executable, "-m", "service", "sessions", "record", request.session, "--store", str(store)]
        words += ["--out", str(request.out), "--cut", request.cut]
        return [*words, "--random-weights"] if random_weights else words

    return command


class Recordings:
    """Makes files below the store's folder. What an earlier server left there is deleted at the start."""

    def __init__(self, store: Path, command: CommandFor, *, timeout: float) -> None:
        self._folder = store / FOLDER
        self._command = command
        self._timeout = timeout
        self._turn = asyncio.Lock()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def record(self, session: str, cut: Cut) -> BufferedReader:
        """An MP4 file, open for reading, that has no name any more. Raises SessionError."""
        path = self._folder / f"{uuid.uuid4().hex}.mp4"
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                await self._make(RecordingRequest(session, cut, path))
            return path.open("rb")
        except TimeoutError as error:
            message = f"the recording of session {session} was not ready within {self._timeout:g} s"
            raise SessionError(ErrorCode.RECORDING_FAILED, message) from error
        finally:
            for left in self._folder.glob(f"*{path.name}*"):
                left.unlink(missing_ok=True)

    async def _make(self, request: RecordingRequest) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *self._command(request), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            _, said = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0:
            words = said.decode("utf-8", "replace")[-_MOST_SAID:]
            logger.warning("the recording of session %s failed with %s: %s", request.session, process.returncode, words)
            raise SessionError(_code(words), f"the recording of session {request.session} could not be made")


def _code(said: str) -> ErrorCode:
    """The command ends with `error: CODE ...`; what it says of the session is passed on, all else is a failure here."""
    for code in (ErrorCode.LATENTS_MISSING, ErrorCode.SESSION_UNKNOWN):
        if f"error: {code}" in said:
            return code
    return ErrorCode.RECORDING_FAILED
