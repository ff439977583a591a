"""Short parts of the runs with jobs: a few through the whole service, a story, a kill of each kind."""

from pathlib import Path

import pytest

from tests.bench import job_kills, jobs, story

pytestmark = pytest.mark.system


def test_no_job_is_lost_or_made_twice() -> None:
    said = jobs.run(12, clients=3, at_once=2, seconds=0.5)
    assert (said["jobs"], said["lost"], said["doubled"]) == (12, 0, 0)
    assert said["statuses"] == {"completed": 12}


def test_a_short_story_has_its_frames_and_its_scenes() -> None:
    said = story.run(2, 12.0)
    assert (said["frames"], said["frames_said"], said["fps"], said["chapters"]) == (192, 192, 16.0, 2)
    assert said["scenes_read_right"] == 2


@pytest.mark.parametrize(("victim", "point"), [("worker", 2), ("api", 20)])
def test_a_kill_changes_no_frame(tmp_path: Path, victim: job_kills.Victim, point: int) -> None:
    _, good = job_kills.one(tmp_path, 18433, victim=None, point=0)
    killed, found = job_kills.one(tmp_path, 18433, victim=victim, point=point)
    assert killed
    assert found == good
    assert (good["frames"], good["jobs"], good["status"]) == (job_kills.FRAMES, 1, "completed")
