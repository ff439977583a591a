"""What a director can do beside prompts, against the real service: halt, go on, change quality, wait for a place.

Order and counts, never seconds: that nothing is made while halted is seen from the numbers of the chunks.
"""

import asyncio
import json
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from client.client import Session, connect
from client.notices import Notice
from client.requests import Delivery, Media
from service.protocol.server import MediaInit, SessionQueued, SessionStats, SessionWarning
from tests.serving import running_service

PROMPT = "a red ball bounces over a grassy meadow by day"
HALT_SECONDS = 2.0


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    """A service with a single place."""
    with running_service("--set", "max_sessions=1", "--set", "stats_interval=0.2") as address:
        yield f"ws://{address}"


async def take(session: Session, count: int) -> list[int]:
    """The byte lengths of the next chunks."""
    lengths = []
    async for chunk in session:
        lengths.append(chunk.metadata.byte_length)
        if len(lengths) == count:
            break
    return lengths


async def until_made(url: str, session: str, *, chunks: int) -> None:
    """By what the service says of the session, not by time."""
    where = f"{url.replace('ws://', 'http://', 1)}/v1/sessions/{session}"
    async with asyncio.timeout(300):
        while True:
            with await asyncio.to_thread(urlopen, where) as answer:
                if json.load(answer)["chunks"] >= chunks:
                    return
            await asyncio.sleep(0.1)


async def test_halted_nothing_is_made_and_then_it_goes_on(url: str) -> None:
    async with connect(url) as session:
        await session.start(PROMPT, seed=1, pacing="none")
        await take(session, 2)
        halted = await session.pause()
        await asyncio.sleep(HALT_SECONDS)
        resumed = await session.resume()
        # Unpaced, the engine makes several blocks a second: in the halt it has made none.
        assert resumed.sequence == halted.sequence
        await take(session, 3)
        assert (session.missing, session.duplicated) == (0, 0)
        await session.stop()
        done = await session.finish()
        assert done.reason == "stopped"


async def test_quality_holds_from_the_chunk_that_is_named(url: str) -> None:
    notices: list[Notice] = []
    async with connect(url, on_notice=notices.append) as session:
        await session.start(PROMPT, seed=1, media=Media(quality=95), pacing="none")
        before = await take(session, 2)
        answer = await session.set_quality(10)
        assert answer.quality == 10
        after = await take(session, 6)
        await session.stop()
        await session.finish()
    small = after[max(0, answer.sequence - 2) :]
    assert small
    assert max(small) < 0.6 * min(before)
    announced = [(notice.quality, notice.sequence) for notice in notices if isinstance(notice, MediaInit)]
    assert announced == [(95, 0), (10, answer.sequence)]
    assert [notice for notice in notices if isinstance(notice, SessionStats) and notice.lead_seconds >= 0]


async def test_a_prompt_that_is_not_read_as_written_is_told_of(url: str) -> None:
    notices: list[Notice] = []
    long = "a red ball rests in the snow by day, " * 8
    async with connect(url, on_notice=notices.append) as session:
        await session.start("a red zeppelin in the snow by day", seed=1, pacing="none")
        await take(session, 1)
        switch = await session.prompt(long)
        async for chunk in session:
            if chunk.metadata.sequence == switch.sequence:
                break
        await session.stop()
        await session.finish()
    warnings = [notice for notice in notices if isinstance(notice, SessionWarning)]
    assert [(warning.code, warning.event_id) for warning in warnings] == [
        ("words_unknown", None),
        ("prompt_truncated", switch.event_id),
    ]
    assert "zeppelin" in warnings[0].message
    kept = warnings[1].kept_characters
    assert kept is not None
    assert 0 < kept < len(long)


async def test_who_finds_no_place_waits_and_is_told_where(url: str) -> None:
    notices: list[Notice] = []
    async with connect(url) as first, connect(url, on_notice=notices.append) as second:
        await first.start(PROMPT, seed=1, pacing="none")
        await take(first, 1)
        waiting = asyncio.create_task(second.start(PROMPT, seed=2, pacing="none"))
        while not any(isinstance(notice, SessionQueued) for notice in notices):
            await take(first, 1)
        assert not waiting.done()
        await first.stop()
        await first.finish()
        await waiting
        assert len(await take(second, 2)) == 2
        await second.stop()
        await second.finish()
    assert [(notice.position, notice.waiting) for notice in notices if isinstance(notice, SessionQueued)] == [(1, 1)]


async def test_a_slow_viewer_is_shown_the_newest(url: str) -> None:
    """With `drop` the take goes on at its own rate while nobody reads it; what is read then is its newest part."""
    async with connect(url) as session:
        delivery = Delivery(slow_consumer="drop")
        start = await session.start(PROMPT, seed=1, pacing="none", delivery=delivery, media=Media(format="raw"))
        await until_made(url, start.session_id, chunks=100)  # more than the buffers on the way hold
        thinned = 0
        async for chunk in session:
            thinned += chunk.dropped_frames > 0
            if thinned or chunk.metadata.sequence > 200:
                break
        assert thinned
        assert session.missing == 0
        await session.stop()
        await session.finish()
