"""What is kept no longer goes, in steps; what is not terminal stays."""

import os
from pathlib import Path

import pytest

from service.access.principal import LOCAL
from service.jobs import rows
from service.jobs.failures import JobUnknown, MediaExpired
from service.jobs.sweeper import sweep
from service.jobs.values import Idempotency
from tests.service.jobs.stages import CONFIG, opened, story

HOURS = 3600.0


async def test_files_go_first_and_rows_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        book, files = stage.jobs.book, stage.jobs.files
        key = Idempotency("key", "print")
        batch_job = await stage.jobs.create(LOCAL, story("a"), idempotency=key)
        await stage.end_of(batch_job.id)
        begun = book.clock()
        now = [begun + CONFIG.job_retain_hours * HOURS - 60]
        object.__setattr__(book, "clock", lambda: now[0])
        assert (await sweep(book, files)).expired == ()
        assert (await stage.jobs.create(LOCAL, story("a"), idempotency=key)).id != batch_job.id, "keys go after a day"
        now[0] += 120
        assert (await sweep(book, files)).expired == (batch_job.id,)
        with pytest.raises(MediaExpired):
            await stage.jobs.media(LOCAL, batch_job.id)
        assert not files.folder(batch_job.id).exists()
        assert (await sweep(book, files)).expired == (), "once"
        now[0] += CONFIG.job_retain_hours * HOURS
        assert (await sweep(book, files)).forgotten == (batch_job.id,)
        with pytest.raises(JobUnknown):
            await stage.jobs.get(LOCAL, batch_job.id)


async def test_a_job_that_waits_is_never_swept_and_a_stray_folder_is_once_it_is_old(tmp_path: Path) -> None:
    async with opened(tmp_path, running=False) as stage:
        book, files = stage.jobs.book, stage.jobs.files
        job = await stage.jobs.create(LOCAL, story("a"), opening=b"picture")
        files.keep_opening("video_stray", b"picture")
        assert await sweep(book, files) == type(await sweep(book, files))((), (), ())
        for name in (job.id, "video_stray"):
            os.utime(files.folder(name), (0, 0))
        swept = await sweep(book, files)
        assert (swept.expired, swept.stray) == ((), ("video_stray",))
        assert await stage.jobs.opening(LOCAL, job.id) == b"picture"
        assert (await stage.store.read(rows.count_by_status)).queued == 1
