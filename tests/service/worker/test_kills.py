"""A session outlives its worker: killed at any moment, it goes on in the next one as if nothing had been."""

from pathlib import Path

from tests.service.worker.killing import BLOCKS, Survivor, random_kills


async def test_a_session_whose_workers_are_killed_has_the_pictures_of_one_left_alone(tmp_path: Path) -> None:
    undisturbed = Survivor(tmp_path / "undisturbed")
    await undisturbed.live([])
    killed = Survivor(tmp_path / "killed")
    await killed.live(random_kills(2, seed=1))
    assert killed.restarts == 2
    assert len(killed.record.course) == BLOCKS
    assert killed.record.rows == undisturbed.record.rows
    assert killed.record.prompts == undisturbed.record.prompts
