"""Pause, quality, playback, the waiting room, discards and thinned chunks, against a server that a test scripts."""

import asyncio

import pytest

from client.client import connect
from client.connection import ClientOptions, is_on_this_machine, own_origin
from client.errors import ClientStateError, ProtocolViolation, RequestRefused, WaitTimeout
from client.notices import ChunksDiscarded, Notice
from client.requests import Delivery
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionControl, SessionInteraction, SessionPlayback, SessionStart
from service.protocol.server import (
    InteractionQueued,
    MediaInit,
    SessionDraining,
    SessionQueued,
    SessionStats,
    VideoDiscard,
)
from tests.client.fake_server import FRAMES, HEIGHT, WIDTH, Peer, fake_server

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0, playback_interval=0.01)
STATS = SessionStats(
    at_seconds=1.0, fps=16.0, realtime_ratio=1.0, lead_seconds=0.7, chunks=2, frames=24, frames_dropped=0, bytes_sent=9
)


async def test_controls_are_answered() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        for sequence in (1, 2, 3):
            await peer.control(await peer.next(), sequence)
        await peer.done(0)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox", delivery=Delivery(slow_consumer="drop"))
        assert (await session.pause()).sequence == 1
        assert (await session.resume()).sequence == 2
        assert (await session.set_quality(40)).quality == 40
        asked = server.peers[0].received
        assert isinstance(asked[0], SessionStart)
        assert asked[0].slow_consumer == "drop"
        assert [message.action for message in asked[1:] if isinstance(message, SessionControl)] == [
            "pause",
            "resume",
            "quality",
        ]


async def test_controls_that_are_refused_or_not_answered() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        asked = await peer.next()
        assert isinstance(asked, SessionControl)
        await peer.fail(ErrorCode.RATE_LIMITED, fatal=False, event_id=asked.event_id)
        while True:
            await peer.next()
            await peer.send(STATS)

    options = ClientOptions(message_timeout=4.0, close_timeout=1.0)
    async with fake_server(script) as server, connect(server.url, options) as session:
        with pytest.raises(ClientStateError, match="pause: expected a session that is running"):
            await session.pause()
        await session.start("a fox")
        with pytest.raises(RequestRefused, match="rate_limited"):
            await session.pause()
        with pytest.raises(ProtocolError):
            await session.set_quality(0)
        with pytest.raises(WaitTimeout, match=r"expected an answer to session\.control within 4 s"):
            await session.resume()


async def test_answer_behind_more_chunks_than_the_buffer_holds_is_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        for sequence in range(6):
            await peer.chunk(sequence)
        await peer.control(await peer.next(), 6)
        await peer.done(6)

    options = ClientOptions(buffer_chunks=1, close_timeout=1.0)
    async with fake_server(script) as server, connect(server.url, options) as session:
        await session.start("a fox", pacing="none")
        assert (await session.pause()).sequence == 6
        assert [chunk.sequence async for chunk in session] == list(range(6))


async def test_playhead_is_reported_while_a_paced_program_takes_frames() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        asked = await peer.next()
        assert isinstance(asked, SessionInteraction)
        await peer.send(InteractionQueued(event_id=asked.event_id))
        await peer.chunk(1, started_event_ids=(asked.event_id,))
        await asyncio.sleep(0.05)
        await peer.done(2)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        await anext(session)
        async with asyncio.timeout(60):
            while len(server.peers[0].playback) < 3:
                await asyncio.sleep(0.005)
        switch = await session.prompt("a boat")
        assert [chunk.sequence async for chunk in session] == [1]
        positions = [report.position_seconds for report in server.peers[0].playback]
        assert len(positions) > 2
        assert positions == sorted(positions)
        assert switch.shown_at is not None
        assert switch.received_at is not None
        assert switch.shown_at >= switch.received_at
        assert switch.report().shown_ms is not None


@pytest.mark.parametrize("pacing", ["none", "realtime"])
async def test_no_reports_without_pacing_or_a_taken_chunk(pacing: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.next()
        await peer.chunk(0, started_event_ids=("a",))
        await asyncio.sleep(0.05)
        await peer.done(1)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox", pacing=pacing)  # type: ignore[arg-type]
        switch = await session.prompt("a boat", event_id="a")
        await switch.wait_received()
        if pacing == "none":
            assert [chunk.sequence async for chunk in session] == [0]
            assert switch.shown_at is None
        await asyncio.sleep(0.02)
        assert server.peers[0].playback == []


async def test_program_with_its_own_player_reports_itself() -> None:
    reports: list[SessionPlayback] = []

    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.next()
        await peer.chunk(0, started_event_ids=("a",))
        await peer.control(await peer.next())
        reports.extend(peer.playback)
        await peer.done(1)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        switch = await session.prompt("a boat", event_id="a")
        await switch.wait_received()
        await session.report_playback(0.0, buffered_seconds=0.75, dropped=2)
        await anext(session)
        await session.report_playback(0.5)
        await asyncio.sleep(0.05)
        assert session.position == 0.5
        await session.pause()
        assert [chunk.sequence async for chunk in session] == []
    assert [(report.position_seconds, report.dropped) for report in reports] == [(0.0, 2), (0.5, None)]
    assert switch.shown_at is not None


async def test_discard_drops_what_waits_and_tells_what_was_taken() -> None:
    seen: list[Notice] = []

    async def script(peer: Peer) -> None:
        await peer.start()
        for sequence in range(4):
            await peer.chunk(sequence)
        await peer.control(await peer.next())
        await peer.send(VideoDiscard(from_sequence=1, next_sequence=6, reason="prompt"))
        await peer.chunk(6, pts=0.75)  # 4 and 5 were taken back before they were sent
        await peer.control(await peer.next())
        await peer.done(7)

    async with fake_server(script) as server, connect(server.url, QUICK, on_notice=seen.append) as session:
        await session.start("a fox")
        assert [(await anext(session)).sequence for _ in range(2)] == [0, 1]
        await session.pause()
        await session.resume()
        assert [(chunk.sequence, chunk.pts) async for chunk in session] == [(6, 0.75)]
        assert (session.missing, session.duplicated) == (0, 0)
    assert seen == [ChunksDiscarded(1, dropped=(2, 3), taken=(1,))]


async def test_thinned_chunks_have_their_place_and_no_pictures() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0, payload=b"", dropped_frames=FRAMES, byte_length=0, num_frames=0, frames=())
        await peer.chunk(1)
        await peer.done(2)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox", pacing="none")
        chunks = [chunk async for chunk in session]
    assert [(chunk.sequence, chunk.num_frames, chunk.dropped_frames) for chunk in chunks] == [(0, 0, 12), (1, 12, 0)]
    assert chunks[0].numpy().shape == (0, HEIGHT, WIDTH, 3)
    assert chunks[0].end_pts == chunks[1].pts


async def test_waiting_room_stats_and_draining_are_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(SessionQueued(position=2, waiting=3))
        await asyncio.sleep(4.5)  # longer than the client waits for a start that is not queued
        await peer.start()
        await peer.send(MediaInit(format="jpeg", quality=85, width=WIDTH, height=HEIGHT, sequence=0))
        await peer.send(STATS)
        await peer.send(SessionDraining(deadline_seconds=5.0))
        await peer.done(0, "drained")

    positions: list[int] = []

    def note(notice: Notice) -> None:
        if isinstance(notice, SessionQueued):
            positions.append(notice.position)

    options = ClientOptions(start_timeout=4.0, queue_timeout=60.0, close_timeout=1.0)
    async with fake_server(script) as server, connect(server.url, options, on_notice=note) as session:
        await session.start("a fox")
        assert (positions, session.notices.queued) == ([2], None)
        assert [chunk async for chunk in session] == []
        assert session.notices.stats == STATS
        assert session.notices.media is not None
        assert session.notices.draining == SessionDraining(deadline_seconds=5.0)
        assert STATS not in session.notices.kept


async def test_discard_before_the_video_is_a_violation() -> None:
    async def script(peer: Peer) -> None:
        await peer.next()
        await peer.send(VideoDiscard(from_sequence=0, next_sequence=1, reason="prompt"))

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        with pytest.raises(ProtocolViolation, match=r"expected video\.discard after video\.start"):
            await session.start("a fox")


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("ws://host:8000/v1/realtime/video", "http://host:8000"),
        ("wss://user:word@host/a/v1/realtime/video", "https://host"),
        ("ws://[2001:db8::1]:80/x", "http://[2001:db8::1]:80"),
    ],
)
def test_origin_is_the_server_s_own_address(address: str, origin: str) -> None:
    assert own_origin(address) == origin


@pytest.mark.parametrize("local", [True, False])
async def test_origin_is_sent_to_other_machines_only(local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def say(address: str) -> bool:
        return local

    async def script(peer: Peer) -> None:
        await peer.next()

    monkeypatch.setattr("client.connection.is_on_this_machine", say)
    monkeypatch.setenv("no_proxy", "*")
    async with fake_server(script) as server, connect(server.url, QUICK):
        while not server.peers:
            await asyncio.sleep(0.001)
        request = server.peers[0].socket.request
        assert request is not None
        assert request.headers.get("Origin") == (None if local else server.url.replace("ws:", "http:"))


async def test_only_the_loopback_is_this_machine() -> None:
    hosts = ("127.0.0.1", "[::1]", "192.0.2.1", "[2001:db8::1]")
    assert [await is_on_this_machine(f"ws://{host}:1/") for host in hosts] == [True, True, False, False]
    assert not await is_on_this_machine("ws://")
