"""What a server does now, as a table: its engine, its sessions, and what it counts.

Knows `/v1/server/info`, `/v1/sessions` and `/metrics`, and the text of the last; nothing of terminals. Invariant: what
a server does not say, or does not let this key see, is left out, and the rest is shown.
"""

import asyncio
import json
import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from client.errors import ClientError, ProtocolViolation
from client.http import Ask, Server

_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(\{[^}]*\})?\s+(\S+)")
PREFIX = "longtake_"


@dataclass(frozen=True, slots=True)
class LiveSession:
    id: str
    status: str
    model: str
    chunks: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look. `metrics` are sums over the labels; of histograms, their counts and sums."""

    at: float
    info: dict[str, Any]
    sessions: tuple[LiveSession, ...]
    metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


async def look(server: Server, *, now: float) -> Snapshot:
    """Ask the server; `now` is in seconds since 1970. Raises ConnectFailed, RequestRefused: it says nothing at all."""
    info = _object(await server.ask(Ask("/v1/server/info")))
    sessions, metrics = await asyncio.gather(_said(server, "/v1/sessions?limit=50"), _said(server, "/metrics"))
    return Snapshot(now, info, _sessions(sessions, now), parse_metrics(metrics.decode("utf-8", "replace")))


async def _said(server: Server, path: str) -> bytes:
    try:
        return await server.ask(Ask(path))
    except ClientError:
        return b""


def parse_metrics(text: str) -> dict[str, float]:
    """Sums by name, without the prefix of this service's metrics; those of the process and of buckets are left out."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line.strip())
        if sample is None or not sample[1].startswith(PREFIX) or sample[1].endswith(("_bucket", "_created")):
            continue
        value = _number(sample[3])
        if value is not None:
            name = sample[1].removeprefix(PREFIX)
            found[name] = found.get(name, 0.0) + value
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def lines_of(now: Snapshot, before: Snapshot | None = None) -> list[str]:
    """For people. With an earlier look, what is counted is also told a second."""
    info = now.info
    lines = [
        f"{info.get('preset')} on {info.get('device')} ({info.get('dtype')}, {info.get('attention')}), "
        f"{info.get('block_ms', 0):.0f} ms a block, places for {info.get('max_sessions')} sessions",
        "",
        f"{'session':<38}{'state':<12}{'model':<16}{'chunks':>8}{'age s':>10}",
    ]
    lines += [
        f"{one.id[:36]:<38}{one.status:<12}{one.model[:14]:<16}{one.chunks:>8}{one.age_seconds:>10.0f}"
        for one in now.sessions
    ] or ["no session is live"]
    lines += ["", f"{'metric':<44}{'value':>16}{'a second':>14}"]
    return lines + [_metric(name, value, now, before) for name, value in sorted(now.metrics.items()) if value]


def _metric(name: str, value: float, now: Snapshot, before: Snapshot | None) -> str:
    rate = ""
    if before is not None and now.at > before.at and name.endswith(("_total", "_count")):
        rate = f"{(value - before.metrics.get(name, 0.0)) / (now.at - before.at):.2f}"
    return f"{name:<44}{value:>16,.10g}{rate:>14}"


def _object(text: bytes) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except ValueError as error:
        raise ProtocolViolation(f"expected facts of a server, got {text[:80]!r}") from error
    if not isinstance(read, dict):
        raise ProtocolViolation(f"expected facts of a server, got {text[:80]!r}")
    return read


def _sessions(text: bytes, now: float) -> tuple[LiveSession, ...]:
    """Those that have not ended."""
    try:
        return tuple(
            LiveSession(
                str(one["id"]),
                str(one["status"]),
                str(one["model"]),
                int(one["chunks"]),
                now - float(one["created_at"]),
            )
            for one in (json.loads(text)["data"] if text else ())
            if one["ended_at"] is None
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected a list of sessions, got {text[:80]!r}") from error
