"""The folder of a batch on this machine: which batch it is, what has come of it, and the files that came.

Knows files; nothing of servers. Invariants: what is needed to go on is on the disk before the server is asked; a result
is written down only once its file is there; a line that was cut short by a crash counts as not written.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = "batch.json"
RESULTS = "results.jsonl"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OWN_NAMES = frozenset({STATE, RESULTS})


class FolderOfAnother(ValueError):
    """The folder holds another file's batch."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """`key`: with which the file is sent, again where the answer was lost; `batch`: what the server calls it."""

    sha256: str
    key: str
    batch: str | None = None


class BatchFolder:
    """`open` it with the file's bytes."""

    def __init__(self, folder: Path, state: BatchState) -> None:
        self.folder = folder
        self.state = state

    @classmethod
    def open(cls, folder: Path, lines: bytes) -> "BatchFolder":
        """The folder as it was left, or a new one. Raises FolderOfAnother, OSError."""
        digest = hashlib.sha256(lines).hexdigest()
        found = _read_state(folder / STATE)
        if found is not None:
            if found.sha256 != digest:
                raise FolderOfAnother(f"{folder} holds the batch of another file, or of this one before it was changed")
            return cls(folder, found)
        folder.mkdir(parents=True, exist_ok=True)
        opened = cls(folder, BatchState(digest, uuid.uuid4().hex))
        opened._write_state()
        return opened

    def name(self, batch: str) -> None:
        """The server has taken the file."""
        self.state = BatchState(self.state.sha256, self.state.key, batch)
        self._write_state()

    def results(self) -> list[dict[str, Any]]:
        """What has come, in order. A line that is not whole is cut off."""
        path = self.folder / RESULTS
        if not path.exists():
            return []
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        return [json.loads(line) for line in whole.splitlines()]

    def add(self, result: Mapping[str, Any]) -> None:
        """A video that is over, with its file if it has one."""
        with (self.folder / RESULTS).open("ab") as file:
            file.write(json.dumps(result, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def file_of(self, custom_id: str | None, video: str) -> Path:
        """Where a video goes: under its own name where that is a plain one, else under its id."""
        plain = custom_id is not None and _PLAIN_NAME.fullmatch(custom_id) is not None
        name = custom_id if plain and f"{custom_id}.mp4" not in _OWN_NAMES else video
        return self.folder / f"{name}.mp4"

    def _write_state(self) -> None:
        state = {"sha256": self.state.sha256, "key": self.state.key, "batch": self.state.batch}
        unfinished = self.folder / f".{STATE}.part"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.folder / STATE)


def _read_state(path: Path) -> BatchState | None:
    if not path.exists():
        return None
    try:
        read = json.loads(path.read_text("utf-8"))
        return BatchState(str(read["sha256"]), str(read["key"]), read["batch"])
    except (ValueError, LookupError, TypeError) as error:
        raise FolderOfAnother(f"{path} is not what a batch leaves there") from error
