"""A file is judged by a process of its own: this is the side that waits for it.

It knows a command and its one line; nothing of decoders. Invariants: at most `at_once` files are judged at the same
time; a judge that takes too long, or dies of the file, has judged: the file is refused; no process outlives its wait.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.errors import ErrorCode, ProtocolError
from service.uploads.kinds import Kind, kind_of

JUDGE = (sys.executable, "-m", "service.uploads.judging")
AT_ONCE = 2
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole picture or clip, and its size in pixels."""

    kind: Kind
    width: int
    height: int


Check = Callable[[bytes, str], Awaitable[Checked]]
"""Judges a file that came in a field. Raises ProtocolError."""


class FileCheck:
    """Call it with a file and the name of the field in which it came."""

    def __init__(self, command: tuple[str, ...] = JUDGE, *, at_once: int = AT_ONCE, timeout: float = TIMEOUT) -> None:
        self._command = command
        self._turns = asyncio.Semaphore(at_once)
        self._timeout = timeout

    async def __call__(self, data: bytes, field: str) -> Checked:
        """Raises ProtocolError: `picture_invalid`, `picture_too_large`, `clip_invalid` or `clip_too_large`."""
        kind = kind_of(data)
        if kind is None:
            raise _refused(
                ErrorCode.PICTURE_INVALID,
                field,
                "The file is no picture and no clip that is taken here.",
                expected="PNG, JPEG or WebP; or MP4, WebM, Matroska, QuickTime or AVI",
            )
        async with self._turns:
            said = await self._ask(data)
        if "kind" in said:
            return Checked(Kind(str(said["kind"])), int(str(said["width"])), int(str(said["height"])))
        invalid = ErrorCode.PICTURE_INVALID if kind is Kind.PICTURE else ErrorCode.CLIP_INVALID
        code = ErrorCode(str(said.get("code", invalid)))
        raise _refused(code, field, "The file cannot be used.", expected=str(said.get("message", "")))

    async def _ask(self, data: bytes) -> dict[str, object]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self._timeout):
                said, _ = await process.communicate(data)
        except TimeoutError:
            return {"message": "a file that can be read in reasonable time"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        try:
            answer: dict[str, object] = json.loads(said)
        except ValueError:
            return {"message": "a file that does no harm to what reads it"}
        return answer


def _refused(code: ErrorCode, field: str, message: str, *, expected: str) -> ProtocolError:
    return ProtocolError(code, f"{message[:-1]}: {expected}." if expected else message, field=field, expected=expected)
