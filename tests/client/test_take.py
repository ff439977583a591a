"""Takes: frames one by one, every verb as its message, what was taken back left out, and a key that is shown."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from client.connection import ClientOptions
from client.errors import SessionFailed
from client.library import Client
from client.requests import Media
from client.take import Take
from service.protocol import ClientMessage
from service.protocol.client import SessionControl, SessionFork, SessionInteraction, SessionResume, SessionStart
from service.protocol.server import SessionForked, VideoDiscard
from tests.client.fake_server import FPS, FRAMES, HEIGHT, WIDTH, Peer, fake_server, pictures, whole_take

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0)


async def test_frames_come_one_by_one_with_their_times() -> None:
    async def script(peer: Peer) -> None:
        asked = await peer.start()
        assert isinstance(asked, SessionStart)
        assert (asked.prompt, asked.max_seconds, asked.format) == ("a red ball", 1.5, "raw")
        assert peer.socket.request is not None
        assert peer.socket.request.headers["Authorization"] == "Bearer secret"
        for sequence in range(2):
            await peer.chunk(sequence, started_event_ids=("e",) if sequence else ())
        await peer.done(2, "completed")

    async with (
        fake_server(script) as server,
        Client(server.url, "secret", QUICK) as client,
        client.session("a red ball", seconds=1.5, media=Media(format="raw")) as take,
    ):
        frames = [frame async for frame in take]
        assert take.done is not None
        assert (take.id, take.info.fps) == ("s1", FPS)
    assert [frame.number for frame in frames] == list(range(2 * FRAMES))
    assert [frame.pts for frame in frames] == [number / FPS for number in range(2 * FRAMES)]
    assert np.array_equal(frames[FRAMES + 3].numpy(), pictures(1)[3])
    assert frames[3].data == pictures(0)[3].tobytes()
    assert [frame.number for frame in frames if frame.started] == [FRAMES]


async def test_what_was_taken_back_is_not_handed_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.chunk(1)
        await peer.next()
        await peer.send(VideoDiscard(from_sequence=1, next_sequence=2, reason="prompt"))
        await peer.chunk(2, pts=FRAMES / FPS)
        await peer.done(3)

    async with fake_server(script) as server, Client(server.url, options=QUICK).session("a red ball") as take:
        numbers = []
        async for frame in take:
            numbers.append((frame.chunk.sequence, frame.index))
            if numbers[-1] == (1, 2):
                await take.prompt("snow")
                while not take.session.notices.discards:
                    await asyncio.sleep(0.01)
    assert numbers == [*((0, k) for k in range(FRAMES)), (1, 0), (1, 1), (1, 2), *((2, k) for k in range(FRAMES))]


async def test_whole_blocks_can_be_had_instead() -> None:
    async with (
        fake_server(whole_take) as server,
        Client(server.url, options=QUICK).session("a red ball", seconds=3.0, pacing="none") as take,
    ):
        assert [chunk.sequence async for chunk in take.chunks()] == [0, 1, 2, 3]


Verb = Callable[[Take], object]


async def test_every_verb_is_its_message() -> None:
    heard: list[ClientMessage] = []

    async def script(peer: Peer) -> None:
        await peer.start()
        for _ in range(6):
            heard.append(await peer.next())
            if isinstance(heard[-1], SessionControl):
                await peer.control(heard[-1])
        await peer.done(0)

    async with fake_server(script) as server, Client(server.url, options=QUICK).session("a red ball") as take:
        await take.prompt("snow", transition=2, at=3.0)
        await take.blend({"snow": 2.0, "rain": 1.0}, sink="refresh")
        await take.cut("a boat")
        await take.pause()
        await take.resume()
        await take.rewind(1.5, same_noise=True)
        assert [frame async for frame in take] == []
    prompts = [message for message in heard if isinstance(message, SessionInteraction)]
    controls = [message for message in heard if isinstance(message, SessionControl)]
    assert [(p.transition_chunks, p.at, p.mode, p.sink) for p in prompts] == [
        (2, 3.0, "recache", "keep"),
        (0, None, "recache", "refresh"),
        (0, None, "cut", "keep"),
    ]
    assert [(part.text, part.weight) for part in prompts[1].weighted_prompts] == [("snow", 2.0), ("rain", 1.0)]
    assert [(c.action, c.seconds, c.same_noise) for c in controls] == [
        ("pause", None, False),
        ("resume", None, False),
        ("rewind", 1.5, True),
    ]


async def test_a_fork_is_another_take_beside_the_first() -> None:
    async def script(peer: Peer) -> None:
        first = await peer.next()
        if isinstance(first, SessionResume):
            assert (first.session_id, first.resume_token, first.last_sequence) == ("s2", "t2", 3)
            await peer.facts(session_id="s2", next_sequence=4)
            await peer.chunk(4)
            await peer.done(5)
            return
        await peer.facts()
        asked = await peer.next()
        assert isinstance(asked, SessionFork)
        assert (asked.seconds, asked.same_noise) == (3.0, False)
        await peer.send(SessionForked(session_id="s2", resume_token="t2", block=4, event_id=asked.event_id))
        await peer.next()
        await peer.done(0)

    async with fake_server(script) as server, Client(server.url, options=QUICK).session("a red ball") as take:
        async with take.fork(3.0) as other:
            assert [frame.chunk.sequence async for frame in other] == [4] * FRAMES
            assert (take.id, other.id) == ("s1", "s2")
        await take.stop()
        assert [frame async for frame in take] == []


async def test_a_take_that_ends_badly_says_so() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.fail("worker_died")

    async with fake_server(script) as server, Client(server.url, options=QUICK).session("a red ball") as take:
        for _ in range(FRAMES):
            assert (await anext(take)).numpy().shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(SessionFailed, match="worker_died"):
            await anext(take)
