"""A batch from a file to a folder of videos: sent, waited for, fetched, and gone on with where it was left.

Knows batches, downloads and the folder; nothing of commands. Invariants: whenever it is interrupted, running it again
goes on with the same batch and fetches what is not there; a video that cannot be made stops no other.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from client.batch_folder import BatchFolder
from client.batches import Batch, Batches
from client.http import Server
from client.video_values import Video
from client.videos import Videos

_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """`lines`: the file; `wait`: stay until it is over; `poll` seconds are between two looks at what has come."""

    lines: bytes
    folder: Path
    name: str | None = None
    priority: int = 0
    wait: bool = True
    cancel: bool = False
    progress: bool = True
    poll: float = 2.0


@dataclass(slots=True)
class BatchReport:
    """What has become of it. `failed` has the code of each video that will not come, by its name."""

    batch: Batch
    files: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run on a server. `told`: each result as it comes."""

    server: Server
    plan: BatchPlan
    told: Callable[[Video], None] | None = None
    retry_pause: float = 0.5

    async def run(self) -> BatchReport:
        """Raises FolderOfAnother, OSError, RequestRefused, ConnectFailed, ProtocolViolation."""
        batches = Batches(self.server, self.retry_pause)
        folder = BatchFolder.open(self.plan.folder, self.plan.lines)
        batch = await self._batch(batches, folder)
        report = BatchReport(batch)
        for result in folder.results():
            _note(report, folder, str(result["id"]), result.get("custom_id"), str(result["status"]), _code(result))
        if not self.plan.wait:
            return report
        with self._bar(batch) as bar:
            bar.update(sum((len(report.files), len(report.failed))))
            await self._follow(batches, folder, report, bar)
        return report

    async def _batch(self, batches: Batches, folder: BatchFolder) -> Batch:
        known = folder.state.batch
        if known is None:
            plan = self.plan
            batch = await batches.create(plan.lines, key=folder.state.key, name=plan.name, priority=plan.priority)
            folder.name(batch.id)
        else:
            batch = await batches.get(known)
        return await batches.cancel(batch.id) if self.plan.cancel else batch

    async def _follow(self, batches: Batches, folder: BatchFolder, report: BatchReport, bar: "tqdm[NoReturn]") -> None:
        last = folder.results()
        after = str(last[-1]["id"]) if last else None
        while True:
            over = report.batch.over
            found = await batches.results(report.batch.id, after=after, limit=_PAGE)
            for video in found:
                await self._keep(folder, video, report)
                after = video.id
                bar.update(1)
            if over and len(found) < _PAGE:
                return
            if not over and len(found) < _PAGE:
                report.batch = await batches.wait(report.batch.id, timeout=self.plan.poll)
                bar.set_postfix({name: report.batch.counts[name] for name in ("queued", "in_progress", "failed")})

    async def _keep(self, folder: BatchFolder, video: Video, report: BatchReport) -> None:
        custom_id = video.answer.get("custom_id")
        if video.status == "completed":
            await Videos(self.server, self.retry_pause).download(video.id, out=folder.file_of(custom_id, video.id))
        folder.add(video.answer)
        code = video.error.code if video.error else None
        _note(report, folder, video.id, custom_id, video.status, code)
        if self.told is not None:
            self.told(video)

    def _bar(self, batch: Batch) -> "tqdm[NoReturn]":
        shown = None if self.plan.progress else True
        return tqdm(total=batch.counts["total"], unit="video", file=sys.stderr, dynamic_ncols=True, disable=shown)


def _note(
    report: BatchReport, folder: BatchFolder, video: str, custom_id: str | None, status: str, code: str | None
) -> None:
    if status == "completed":
        report.files.append(folder.file_of(custom_id, video))
    else:
        report.failed[custom_id or video] = code or status


def _code(result: dict[str, object]) -> str | None:
    error = result.get("error")
    return str(error["code"]) if isinstance(error, dict) else None
