"""Forks: a history that is shared up to a point, as it stood at any time, and latents that belong to both."""

import pytest

from service.latent_files import latent_path, opening_path, session_folder
from service.store.failures import ForkPointInvalid, LatentsMissing, SessionLive
from service.store.history import CoursePoint
from service.store.store import SessionStore
from tests.service.store.values import add, files, fill, prompt, row, take


async def test_a_fork_has_the_history_before_its_point_and_a_take_of_its_own(store: SessionStore) -> None:
    await fill(store, "a", 4)
    await add(store, "a", row(4, 2, take=await store.next_take("a")), events=(take(2, 1), prompt(2, "b")))
    made = await store.fork("a", "b", point=CoursePoint(block=3))
    assert made == await store.get("b")
    assert (made.parent, made.parent_block, made.family, made.next_sequence) == ("a", 3, "a", 3)
    assert (made.live, made.end_reason, made.seed) == (False, "forked", 2**63 - 1)
    course = await store.course("b")
    assert [(found.sequence, found.block, found.take) for found in course.rows] == [(0, 0, 0), (1, 1, 0), (2, 2, 1)]
    assert course.events == (prompt(0), take(2, 1), prompt(2, "b"), take(3, 2))
    theirs, ours = (await store.course("a")).rows, course.rows
    assert [found.frames_sha256 for found in ours] == [found.frames_sha256 for found in theirs]
    for mine, its in zip(ours, theirs, strict=True):
        link = latent_path(store.folder, "b", sequence=mine.sequence)
        assert link.samefile(latent_path(store.folder, "a", sequence=its.sequence))


async def test_same_noise_keeps_the_take_of_the_block(store: SessionStore) -> None:
    await fill(store, "a", 4)
    await add(store, "a", row(4, 2, take=await store.next_take("a")), events=(take(2, 1),))
    fork = await store.fork("a", "b", point=CoursePoint(block=2), same_noise=True)
    assert (await store.course("b")).events == (prompt(0), take(2, 1))
    assert await store.next_take(fork.family) == 2, "no number was used"


async def test_what_was_taken_back_can_be_forked_from(store: SessionStore) -> None:
    await fill(store, "a", 4)
    await add(store, "a", row(4, 1, take=await store.next_take("a")), events=(take(1, 1),))
    # Chunk 3 made anew, in the course it was part of.
    await store.fork("a", "b", point=CoursePoint(block=3, before_sequence=3))
    course = await store.course("b")
    assert ([found.take for found in course.rows], course.events) == ([0, 0, 0], (prompt(0), take(3, 2)))


async def test_a_fork_of_a_fork_counts_in_the_same_family(store: SessionStore) -> None:
    await fill(store, "a", 3)
    await store.fork("a", "b", point=CoursePoint(block=2))
    second = await store.fork("b", "c", point=CoursePoint(block=1))
    assert (second.family, second.parent) == ("a", "b")
    assert (await store.course("c")).events[-1] == take(1, 2)


async def test_either_can_be_deleted_and_the_other_stays_whole(store: SessionStore) -> None:
    await fill(store, "a", 3)
    await store.fork("a", "b", point=CoursePoint(block=2))
    await store.end_session("a", "stopped")
    await store.delete("a")
    assert files(store.folder, "b") == ["00000000.safetensors", "00000001.safetensors"]
    assert latent_path(store.folder, "b", sequence=0).stat().st_nlink == 1
    assert (await store.get("b")).parent == "a"
    assert await store.next_take("a") == 2, "the family is known while one of it is left"


async def test_a_fork_whose_latents_are_gone_is_none(store: SessionStore) -> None:
    await fill(store, "a", 3)
    latent_path(store.folder, "a", sequence=1).unlink()
    with pytest.raises(LatentsMissing, match=r"session a are not all there: .*00000001"):
        await store.fork("a", "b", point=CoursePoint(block=3))
    assert [found.id for found in (await store.list()).records] == ["a"]
    assert not session_folder(store.folder, "b").exists()
    await store.fork("a", "b", point=CoursePoint(block=1))


async def test_a_fork_at_the_beginning_or_past_the_end(store: SessionStore) -> None:
    await fill(store, "a", 2)
    await store.fork("a", "b", point=CoursePoint(block=0))
    course = await store.course("b")
    assert (course.rows, course.events, course.next_sequence) == ((), (prompt(0), take(0, 1)), 0)
    with pytest.raises(ForkPointInvalid):
        await store.fork("a", "c", point=CoursePoint(block=3))
    await store.fork("a", "d")
    assert len((await store.course("d")).rows) == 2


async def test_blocks_that_a_session_was_given_go_with_its_forks(store: SessionStore) -> None:
    await fill(store, "a", 1)
    opening_path(store.folder, "a", block=0).write_bytes(b"given")
    await store.fork("a", "b", point=CoursePoint(block=1))
    assert opening_path(store.folder, "b", block=0).read_bytes() == b"given"


async def test_a_fork_goes_on_after_it_is_opened(store: SessionStore) -> None:
    await fill(store, "a", 2)
    await store.fork("a", "b", point=CoursePoint(block=1))
    await store.reopen_session("b")
    with pytest.raises(SessionLive):
        await store.reopen_session("b")
    await add(store, "b", row(1, 1, take=1))
    assert (await store.get("b")).next_sequence == 2
