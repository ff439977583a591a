"""Batches: many videos asked for with one file, looked at as one.

Knows the REST of `/v1/batches`; nothing of files on this machine. Invariants: asking again with the same key makes no
second batch; results come in the order in which the videos ended, so that whoever goes on behind the last one misses
none; a call that may be repeated is, where the server cannot be reached for a moment.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote, urlencode

from client.errors import ProtocolViolation
from client.http import Ask, Server
from client.video_values import Video, video_of_object

PATH = "/v1/batches"
LINES = "application/jsonl"
_ATTEMPTS = 6
_COUNTS = ("total", "queued", "in_progress", "completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Batch:
    """How many of its videos stand where: `counts` has total, queued, in_progress, completed, failed, cancelled."""

    id: str
    status: str
    counts: Mapping[str, int]

    @property
    def over(self) -> bool:
        return self.status != "in_progress"


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of one server. All calls raise ConnectFailed, RequestRefused and ProtocolViolation."""

    server: Server
    retry_pause: float = field(default=0.5)

    async def create(self, lines: bytes, *, key: str, name: str | None = None, priority: int = 0) -> Batch:
        """`lines`: a request a line, with a `custom_id` each; `key`: the same file with the same key is one batch."""
        query = {"priority": str(priority)} | ({"name": name} if name else {})
        asked = Ask(f"{PATH}?{urlencode(query)}", "POST", lines, LINES, {"Idempotency-Key": key})
        return batch_of(await self._tried(asked))

    async def get(self, batch: str) -> Batch:
        return batch_of(await self._tried(Ask(_path(batch))))

    async def wait(self, batch: str, *, timeout: float) -> Batch:
        """Once it is over, or as it stands after so many seconds, or earlier where the server waits less."""
        return batch_of(await self._tried(Ask(f"{_path(batch)}/wait?timeout={timeout:g}")))

    async def cancel(self, batch: str) -> Batch:
        """Every video of it that is not over."""
        return batch_of(await self._tried(Ask(f"{_path(batch)}/cancel", "POST", b"{}")))

    async def results(self, batch: str, *, after: str | None = None, limit: int = 100) -> list[Video]:
        """Videos that are over, behind the one whose id is `after`."""
        query = {"limit": str(limit)} | ({"after": after} if after else {})
        text = await self._tried(Ask(f"{_path(batch)}/results?{urlencode(query)}"))
        try:
            return [video_of_object(json.loads(line)) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise ProtocolViolation(f"expected a video a line, got {text[:80]!r}") from error

    async def _tried(self, asked: Ask) -> bytes:
        return await self.server.ask_again(asked, attempts=_ATTEMPTS, pause=self.retry_pause)


def batch_of(text: bytes) -> Batch:
    """Raises ProtocolViolation."""
    try:
        read = cast(dict[str, Any], json.loads(text))
        return Batch(str(read["id"]), str(read["status"]), {name: int(read["counts"][name]) for name in _COUNTS})
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected a batch, got {text[:80]!r}") from error


def _path(batch: str) -> str:
    return f"{PATH}/{quote(batch, safe='')}"
