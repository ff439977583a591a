"""A file fetched from a server into a folder, in parts, over as many connections as it takes.

Knows HTTP ranges and files; nothing of what is fetched. Invariants: the file comes under its name only when it is
whole; what goes on after a lost connection is the same file, or it is begun anew; memory does not grow with its size.
"""

import asyncio
import sys
from contextlib import closing
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import BinaryIO, NoReturn

from tqdm import tqdm

from client.errors import ConnectFailed
from client.http import Ask, Server

_PART = 1 << 18
_ATTEMPTS = 5
_PARTIAL = 206


async def fetch(server: Server, path: str, *, out: Path, progress: bool, pause: float = 0.5) -> Path:
    """Raises RequestRefused, ConnectFailed, OSError."""
    unfinished = out.with_name(f".{out.name}.part")
    try:
        with (
            unfinished.open("wb") as file,
            tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=None if progress else True) as bar,
        ):
            await _fetch(server, path, file, bar=bar, pause=pause)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return out


async def _fetch(server: Server, path: str, file: BinaryIO, *, bar: "tqdm[NoReturn]", pause: float) -> None:
    tag: str | None = None
    for number in range(_ATTEMPTS):
        have = file.tell()
        headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
        try:
            answer = await server.open(Ask(path, headers=headers))
            tag = answer.headers.get("ETag")
            await asyncio.to_thread(_read, answer, file, bar=bar)
            break
        except (ConnectFailed, HTTPException, ConnectionError, TimeoutError):
            if number == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(pause * 2**number)


def _read(answer: HTTPResponse, file: BinaryIO, *, bar: "tqdm[NoReturn]") -> None:
    """Raises IncompleteRead, which is an HTTPException, where the connection ends early."""
    with closing(answer):
        if answer.status != _PARTIAL:
            file.seek(0)
            file.truncate()
        due = None if answer.length is None else file.tell() + answer.length
        bar.total, bar.n = due, file.tell()
        while part := answer.read(_PART):
            file.write(part)
            bar.update(len(part))
        if due is not None and file.tell() != due:
            raise IncompleteRead(b"", due - file.tell())
