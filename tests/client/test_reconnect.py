"""A connection that is lost comes back: with the token, after the last chunk, once; or it is told why not."""

import asyncio
from dataclasses import replace

import pytest

from client.client import Session, connect
from client.comeback import ResumeTicket, fork_ticket
from client.connection import ClientOptions
from client.errors import ConnectionLost, RequestRefused, SessionFailed
from client.notices import ChunksDiscarded, Disconnected
from client.requests import Place
from service.protocol.client import (
    SessionCheckpoint,
    SessionControl,
    SessionDirect,
    SessionFork,
    SessionInteraction,
    SessionJoin,
    SessionPing,
    SessionResume,
    SessionStart,
    SessionStop,
)
from service.protocol.server import (
    InteractionQueued,
    MissingChunks,
    SessionCheckpointed,
    SessionControlApplied,
    SessionDirection,
    SessionForked,
    SessionResumed,
    VideoDiscard,
    WorkerRestarting,
)
from tests.client.fake_server import LIMITS, FakeServer, Peer, fake_server

FAST = ClientOptions(reconnect_delay=0.01, reconnect_delay_max=0.02)
LIMIT = 60.0


async def resumed(peer: Peer, token: str, *, next_sequence: int, missing: MissingChunks | None = None) -> None:
    """Answer session.resume as a server does: who it is, then that it goes on."""
    await peer.facts(resume_token=token, next_sequence=next_sequence)
    await peer.send(
        SessionResumed(
            session_id="s1", cause="connection", next_sequence=next_sequence, resume_token=token, missing=missing
        )
    )


async def expect_resume(peer: Peer, *, token: str, last: int | None) -> None:
    asked = await peer.next()
    assert isinstance(asked, SessionResume), asked
    assert (asked.session_id, asked.resume_token, asked.last_sequence) == ("s1", token, last)


async def take_all(session: Session) -> list[int]:
    async with asyncio.timeout(LIMIT):
        return [chunk.sequence async for chunk in session]


async def test_chunks_go_on_after_the_last_that_came_whole() -> None:
    """Three connections: cut after a chunk, cut between metadata and bytes, and one that reaches the end."""
    server: FakeServer

    async def script(peer: Peer) -> None:
        match len(server.peers):
            case 1:
                await peer.start(resume_token="t1")
                await peer.chunk(0)
                await peer.chunk(1)
            case 2:
                await expect_resume(peer, token="t1", last=1)
                await resumed(peer, "t2", next_sequence=2)
                await peer.chunk(2)
                await peer.announce(3)
            case _:
                await expect_resume(peer, token="t2", last=2)
                await resumed(peer, "t3", next_sequence=3)
                await peer.chunk(3)
                await peer.done(4)
                await peer.next()
                return
        peer.cut()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        assert await take_all(session) == [0, 1, 2, 3]
        assert (session.missing, session.duplicated, session.notices.reconnects) == (0, 0, 2)
        assert session.ticket == ResumeTicket("s1", "t3", 3)
        kinds = [type(notice) for notice in session.notices.kept]
        assert kinds == [Disconnected, SessionResumed] * 2


async def test_a_gap_is_told_and_what_comes_again_is_not_handed_out_twice() -> None:
    server: FakeServer

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.start(resume_token="t1")
            await peer.chunk(0)
            peer.cut()
            return
        await expect_resume(peer, token="t1", last=0)
        await resumed(peer, "t2", next_sequence=4, missing=MissingChunks(from_sequence=1, to_sequence=3))
        await peer.chunk(0)
        await peer.chunk(4)
        await peer.done(5)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        assert await take_all(session) == [0, 4]
        assert (session.missing, session.duplicated) == (3, 1)


async def test_attempts_go_on_while_the_server_keeps_the_session() -> None:
    """Broken at once, broken while resuming, refused for now, and then well."""
    server: FakeServer

    async def script(peer: Peer) -> None:
        match len(server.peers):
            case 1:
                await peer.start(resume_token="t1")
                await peer.chunk(0)
            case 2:
                pass
            case 3:
                await expect_resume(peer, token="t1", last=0)
            case 4:
                await expect_resume(peer, token="t1", last=0)
                await peer.fail("worker_unavailable", retryable=True)
            case _:
                await expect_resume(peer, token="t1", last=0)
                await resumed(peer, "t2", next_sequence=1)
                await peer.chunk(1)
                await peer.done(2)
                await peer.next()
                return
        peer.cut()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        assert await take_all(session) == [0, 1]
        assert (len(server.peers), session.notices.reconnects) == (5, 1)


@pytest.mark.parametrize("code", ["resume_token_invalid", "session_unknown", "session_ended"])
async def test_a_server_that_does_not_know_the_session_any_more_ends_it(code: str) -> None:
    server: FakeServer

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.start(resume_token="t1")
            await peer.chunk(0)
            peer.cut()
            return
        await peer.next()
        await peer.fail(code, fatal=False)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        with pytest.raises(SessionFailed) as caught:
            await take_all(session)
        assert (caught.value.code, len(server.peers)) == (code, 2)


@pytest.mark.parametrize(
    ("options", "token", "grace"),
    [(FAST, None, 60.0), (replace(FAST, reconnect=False), "t1", 60.0), (FAST, "t1", 0.0)],
    ids=["no token", "not wanted", "no time"],
)
async def test_without_a_way_back_the_loss_is_told(options: ClientOptions, token: str | None, grace: float) -> None:
    server: FakeServer

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            limits = LIMITS.model_copy(update={"resume_grace_s": grace})
            await peer.start(resume_token=token, limits=limits)
            await peer.chunk(0)
        peer.cut()

    async with fake_server(script) as server, connect(server.url, options) as session:
        await session.start("a fox")
        with pytest.raises(ConnectionLost):
            await take_all(session)
        assert len(server.peers) <= 2


async def test_what_was_asked_is_asked_again_and_what_waits_is_told() -> None:
    """A prompt without an answer goes again under its name; a control that waits fails, and can be asked again."""
    server: FakeServer

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.start(resume_token="t1")
            first, second = await peer.next(), await peer.next()
            assert isinstance(first, SessionInteraction)
            assert isinstance(second, SessionInteraction)
            await peer.send(InteractionQueued(event_id=first.event_id))
            assert isinstance(await peer.next(), SessionControl)
            peer.cut()
            return
        await expect_resume(peer, token="t1", last=None)
        await resumed(peer, "t2", next_sequence=0)
        asked = {type(message): message for message in [await peer.next() for _ in range(3)]}
        assert SessionPing in asked, "a word by which the server knows that its token came"
        again = asked[SessionInteraction]
        assert isinstance(again, SessionInteraction)
        assert again.event_id == "b"
        await peer.send(InteractionQueued(event_id="b"))
        await peer.control(asked[SessionControl])
        await peer.chunk(0, event_ids=("a", "b"), started_event_ids=("a", "b"))
        await peer.done(1)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        switches = [await session.prompt(name, event_id=name) for name in ("a", "b")]
        await switches[0].wait_queued(LIMIT)
        with pytest.raises(ConnectionLost, match="before the answer came"):
            await session.pause()
        assert (await session.pause()).action == "pause"
        assert await take_all(session) == [0]
        assert [switch.sequence for switch in switches] == [0, 0]


async def test_a_stop_that_was_lost_is_said_again() -> None:
    server: FakeServer

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.start(resume_token="t1")
            assert isinstance(await peer.next(), SessionStop)
            peer.cut()
            return
        await expect_resume(peer, token="t1", last=None)
        await resumed(peer, "t2", next_sequence=0)
        while not isinstance(await peer.next(), SessionStop):
            pass
        await peer.done(0)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        async with asyncio.timeout(LIMIT):
            assert (await session.finish()).reason == "stopped"


async def test_a_lost_engine_is_a_notice_and_the_numbers_go_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.start(resume_token="t1")
        await peer.chunk(0)
        await peer.send(WorkerRestarting(message="It died."))
        await peer.send(SessionResumed(session_id="s1", cause="worker", next_sequence=1))
        await peer.chunk(1)
        await peer.done(2)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        assert await take_all(session) == [0, 1]
        assert (session.notices.worker_restarts, session.notices.reconnects, session.missing) == (1, 0, 0)


async def test_a_ticket_goes_on_with_what_another_program_left() -> None:
    server: FakeServer

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.start(resume_token="t1")
            await peer.chunk(0)
            await peer.socket.wait_closed()
            assert peer.socket.close_code == 1001, "a session is not ended by who leaves it"
            return
        await expect_resume(peer, token="t1", last=0)
        await resumed(peer, "t2", next_sequence=1)
        await peer.chunk(1)
        await peer.done(2)
        await peer.next()

    async with fake_server(script) as server:
        async with connect(server.url, FAST) as session:
            await session.start("a fox")
            await anext(session)
            ticket = await session.leave()
        assert ticket == ResumeTicket("s1", "t1", 0)
        async with connect(server.url, FAST) as session:
            await session.attach(ticket)
            assert await take_all(session) == [1]
            assert session.missing == 0


async def test_a_ticket_that_is_refused_can_be_followed_by_another() -> None:
    async def script(peer: Peer) -> None:
        await peer.next()
        await peer.fail("resume_token_invalid", fatal=False)
        await expect_resume(peer, token="t2", last=None)
        await resumed(peer, "t3", next_sequence=0)
        await peer.done(0)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        with pytest.raises(RequestRefused, match="resume_token_invalid"):
            await session.attach(ResumeTicket("s1", "t1"))
        await session.attach(ResumeTicket("s1", "t2"))
        assert await take_all(session) == []


async def test_a_viewer_joins_where_the_video_is_and_again_after_a_loss() -> None:
    server: FakeServer

    async def script(peer: Peer) -> None:
        asked = await peer.next()
        assert isinstance(asked, SessionJoin)
        assert (asked.session_id, asked.slow_consumer) == ("s1", "drop")
        if len(server.peers) == 1:
            await peer.facts(role="viewer", next_sequence=5)
            await peer.chunk(5)
            peer.cut()
            return
        await peer.facts(role="viewer", next_sequence=8)
        await peer.chunk(8)
        await peer.done(9, "left")
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        info = await session.join("s1")
        assert (info.role, session.role, session.ticket) == ("viewer", "viewer", None)
        assert await take_all(session) == [5, 8]
        assert session.missing == 2, "what came while nobody was there"


async def test_rewind_fork_checkpoint_and_direction() -> None:
    async def script(peer: Peer) -> None:
        await peer.start(resume_token="t1")
        for number in range(3):
            await peer.chunk(number)
        asked = await peer.next()
        assert isinstance(asked, SessionControl)
        assert (asked.action, asked.sequence, asked.same_noise) == ("rewind", 1, True)
        await peer.send(VideoDiscard(from_sequence=3, next_sequence=4, reason="rewind"))
        await peer.send(SessionControlApplied(action="rewind", sequence=4, block=1, take=1, event_id=asked.event_id))
        await peer.chunk(4, block=1, take=1)
        asked = await peer.next()
        assert isinstance(asked, SessionFork)
        await peer.send(SessionForked(session_id="s2", resume_token="f1", block=2, event_id=asked.event_id))
        asked = await peer.next()
        assert isinstance(asked, SessionCheckpoint)
        await peer.send(SessionCheckpointed(name=asked.name, sequence=5, block=2, event_id=asked.event_id))
        asked = await peer.next()
        assert isinstance(asked, SessionDirect)
        await peer.send(SessionDirection(role="viewer", offered=False))
        await peer.control(await peer.next(), sequence=9)
        await peer.chunk(9)
        await peer.done(10)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox", pacing="none")
        answer = await session.rewind(Place(sequence=1, same_noise=True))
        assert (answer.sequence, answer.block, answer.take) == (4, 1, 1)
        fork = await session.fork()
        assert fork_ticket(fork) == ResumeTicket("s2", "f1", 1)
        assert (await session.checkpoint("here")).sequence == 5
        await session.direct("offer")
        assert (await session.seek_live()).sequence == 9
        assert await take_all(session) == [0, 1, 2, 4, 9]
        assert (session.missing, session.role, session.ticket) == (0, "viewer", None)
        discard = next(notice for notice in session.notices.kept if isinstance(notice, ChunksDiscarded))
        assert (discard.from_sequence, discard.reason) == (3, "rewind")


async def test_a_first_message_is_said_once() -> None:
    async def script(peer: Peer) -> None:
        assert isinstance(await peer.next(), SessionStart)
        await peer.facts()
        await peer.done(0)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, FAST) as session:
        await session.start("a fox")
        assert await take_all(session) == []
