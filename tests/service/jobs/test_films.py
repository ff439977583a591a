"""Films of jobs: fragments that are no film are a failure with a code, not a fault."""

from pathlib import Path

import pytest

from service.errors import ErrorCode
from service.jobs.failures import JobError
from service.jobs.files import Film, JobFiles
from service.jobs.films import make_film


def test_fragments_that_are_no_film_fail_the_job(tmp_path: Path) -> None:
    files = JobFiles(tmp_path)
    film = Film(job="video_a", attempt=1, media_bytes=64, frames=12, fps=16, model="demo", chapters=())
    path = files.fragments(film.job, film.attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no film" * 100)
    with pytest.raises(JobError) as caught:
        make_film(files, film)
    assert caught.value.code is ErrorCode.MEDIA_FAILED
