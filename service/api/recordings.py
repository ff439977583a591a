"""Recordings of sessions: made from their latents by a process of their own, at low priority, one at a time.

Knows the command and its exit; nothing of tensors or of the web. Invariants: a recording that nobody waits for any more
is ended with its process; one that was made is kept for those who come again, or for another part of it, as long as it
is what would be made now: for a while, and all of them together up to a bound.
"""

import asyncio
import contextlib
import hashlib
import logging
import math
import shutil
import sys
import time
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
KEEP_SECONDS = 600.0
"""Since somebody asked for it last."""
KEEP_BYTES = 1 << 30
"""Of all that are kept; the newest is kept in any case."""
_MOST_SAID = 2000


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    session: str
    cut: Cut
    out: Path


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, open for reading. `etag`: SHA-256 of its bytes, in hexadecimal."""

    file: BufferedReader
    size: int
    etag: str


@dataclass(slots=True)
class _Kept:
    path: Path
    size: int
    etag: str
    until: float


_Key = tuple[str, Cut, str]
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

    def __init__(
        self,
        store: Path,
        command: CommandFor,
        *,
        timeout: float,
        keep_bytes: int = KEEP_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = store / FOLDER
        self._command = command
        self._timeout = timeout
        self._keep_bytes = keep_bytes
        self._clock = clock
        self._kept: dict[_Key, _Kept] = {}
        self._turn = asyncio.Lock()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def record(self, session: str, cut: Cut, *, state: str) -> Recording:
        """An MP4 file. `state` is another one once the session has changed. Raises SessionError."""
        self._drop_old()
        key = (session, cut, state)
        if key not in self._kept:
            await self._keep(key)
        kept = self._kept[key] = self._kept.pop(key)  # the newest is the last
        kept.until = self._clock() + KEEP_SECONDS
        recording = Recording(kept.path.open("rb"), kept.size, kept.etag)
        self._drop_old()
        return recording

    async def _keep(self, key: _Key) -> None:
        session, cut, _ = key
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                if key not in self._kept:
                    self.forget(session, cut)
                    self._kept[key] = await self._made(session, cut)
        except TimeoutError as error:
            message = f"the recording of session {session} was not ready within {self._timeout:g} s"
            raise SessionError(ErrorCode.RECORDING_FAILED, message) from error

    def forget(self, session: str, cut: Cut | None = None) -> None:
        """It has changed, or is deleted."""
        for key in [key for key in self._kept if key[0] == session and cut in (None, key[1])]:
            self._drop(key)

    def _drop_old(self) -> None:
        now = self._clock()
        for key in [key for key, kept in self._kept.items() if kept.until <= now]:
            self._drop(key)
        while len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > self._keep_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        """Whoever reads it reads on to its end."""
        self._kept.pop(key).path.unlink(missing_ok=True)

    async def _made(self, session: str, cut: Cut) -> _Kept:
        path = self._folder / f"{uuid.uuid4().hex}.mp4"
        whole = False
        try:
            await self._make(RecordingRequest(session, cut, path))
            with path.open("rb") as file:
                digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            whole = True
            return _Kept(path, path.stat().st_size, digest.hexdigest(), math.inf)
        finally:
            for left in self._folder.glob(f"*{path.name}*"):
                if not (whole and left == path):
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
