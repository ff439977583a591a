"""The client against a server that does right, does wrong, is slow, or goes away."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from client.client import Session, connect
from client.connection import ClientOptions
from client.errors import (
    ClientError,
    ClientStateError,
    ConnectionLost,
    ProtocolViolation,
    RequestRefused,
    SessionEnded,
    SessionFailed,
    WaitTimeout,
)
from client.receiving import SessionState
from client.requests import Media
from client.switch import Switch
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionInteraction, SessionPing, SessionStop
from service.protocol.server import (
    ErrorMessage,
    FramePart,
    InteractionQueued,
    InteractionSuperseded,
    SessionPong,
    SessionWarning,
)
from tests.client.fake_server import FRAMES, HEIGHT, LIMITS, WIDTH, Peer, fake_server, pictures, whole_take

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0)
IMPATIENT = ClientOptions(start_timeout=4.0, message_timeout=4.0, close_timeout=1.0)
"""So long that a busy machine answers within it."""


async def collect(session: Session, into: list[int] | None = None) -> list[int]:
    """The sequence numbers of all chunks; `into` keeps those that came before an error."""
    sequences = [] if into is None else into
    async for chunk in session:
        sequences.append(chunk.sequence)
    return sequences


async def start_and_collect(session: Session) -> None:
    await session.start("a fox")
    await collect(session)


async def test_a_take_from_start_to_done() -> None:
    async with fake_server(whole_take) as server, connect(server.url, QUICK) as session:
        info = await session.start("a fox", seed=7, media=Media(format="png"), max_seconds=3.0)
        assert (info.width, info.height, info.seed) == (WIDTH, HEIGHT, 7)
        assert session.info is info
        chunks = [chunk async for chunk in session]
        assert [chunk.sequence for chunk in chunks] == [0, 1, 2, 3]
        assert [chunk.pts for chunk in chunks] == [0.0, 0.75, 1.5, 2.25]
        assert all(np.array_equal(chunk.numpy(), pictures(chunk.sequence)) for chunk in chunks)
        assert session.done is not None
        assert (session.done.reason, session.done.frames) == ("completed", 4 * FRAMES)
        assert (session.missing, session.duplicated, session.state) == (0, 0, SessionState.ENDED)
        assert await collect(session) == []


async def test_prompts_are_followed_to_their_first_chunk() -> None:
    async def script(peer: Peer) -> None:
        await whole_take(peer, chunk_seconds=0.01)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        switch: Switch | None = None
        async for chunk in session:
            if chunk.sequence == 2:
                switch = await session.prompt("a boat", mode="flush", event_id="boat")
            if switch is not None and chunk.sequence == (switch.sequence or 0) + 1 and switch.is_over:
                await session.stop()
        assert switch is not None
        report = switch.report()
        assert report.prompt == "a boat"
        assert report.chunk is not None
        assert report.chunk >= 3
        times = [switch.sent_at, switch.queued_at, switch.received_at, switch.applied_at]
        assert times == sorted(times, key=lambda time: time or 0.0)
        asked = server.peers[0].received[1]
        assert isinstance(asked, SessionInteraction)
        assert (asked.event_id, asked.mode, asked.prompt) == ("boat", "flush", "a boat")


async def test_gaps_and_repeats_are_counted() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        for sequence in (0, 1, 1, 4, 2):
            await peer.chunk(sequence)
        await peer.done(6)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        assert await collect(session) == [0, 1, 4]
        assert (session.missing, session.duplicated) == (3, 2)


async def short_payload(peer: Peer) -> None:
    await peer.chunk(1, payload=b"\xff\xd8")


async def wrong_length(peer: Peer) -> None:
    await peer.chunk(1, byte_length=10)


async def wrong_hash(peer: Peer) -> None:
    peer.kind = "raw"
    await peer.chunk(1, frames_sha256="00ff")


async def text_for_bytes(peer: Peer) -> None:
    await peer.socket.send("{}")


async def bytes_for_text(peer: Peer) -> None:
    await peer.socket.send(b"abc")


@pytest.mark.parametrize(
    ("misbehave", "message"),
    [
        (short_payload, r"chunk 1: expected \d+ bytes, got 2"),
        (wrong_length, "chunk 1: expected 10 bytes"),
        (wrong_hash, "chunk 1: expected frames with SHA-256 00ff"),
        (text_for_bytes, "expected a message of the protocol"),
        (bytes_for_text, "got 3 bytes that nothing announced"),
    ],
)
async def test_broken_messages_end_the_session_with_the_reason(
    misbehave: Callable[[Peer], Awaitable[None]], message: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await misbehave(peer)
        await peer.next()

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        taken: list[int] = []
        with pytest.raises(ProtocolViolation, match=message):
            await collect(session, into=taken)
        assert taken == [0]
        with pytest.raises(ProtocolViolation, match=message):
            await session.prompt("a boat")


async def test_worker_lost_is_a_typed_error_after_the_chunks_that_came() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.fail(ErrorCode.WORKER_DIED, retryable=True, retry_after=2.0)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        taken: list[int] = []
        with pytest.raises(SessionFailed, match="worker_died: as the test asks") as failed:
            await collect(session, into=taken)
        assert taken == [0]
        assert (failed.value.code, failed.value.retryable, failed.value.retry_after) == ("worker_died", True, 2.0)
        with pytest.raises(SessionFailed, match="worker_died"):
            await collect(session)


async def test_error_that_is_not_fatal_changes_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.fail(ErrorCode.RATE_LIMITED, fatal=False)
        await peer.send(SessionWarning(code="prompt_truncated", message="Cut."))
        await peer.chunk(1)
        await peer.done(2)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        assert await collect(session) == [0, 1]
        codes = [notice.code for notice in session.notices.kept if isinstance(notice, ErrorMessage | SessionWarning)]
        assert codes == ["rate_limited", "prompt_truncated"]


async def test_refused_start_leaves_the_connection_for_another() -> None:
    async def script(peer: Peer) -> None:
        await peer.next()
        await peer.fail(ErrorCode.MODEL_UNKNOWN, fatal=False, field="model", expected="demo")
        await whole_take(peer)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        with pytest.raises(RequestRefused, match=r"model_unknown \[model\].*expected demo") as refused:
            await session.start("a fox", model="other")
        assert refused.value.field == "model"
        await session.start("a fox", max_seconds=0.5)
        assert await collect(session) == [0]


async def test_fatal_answer_to_start() -> None:
    async def script(peer: Peer) -> None:
        await peer.next()
        await peer.fail(ErrorCode.CAPACITY)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        with pytest.raises(SessionFailed, match="capacity"):
            await session.start("a fox")
        with pytest.raises(SessionFailed, match="capacity"):
            await collect(session)


async def test_prompts_end_as_the_server_says() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.next()
        await peer.send(InteractionQueued(event_id="a"))
        await peer.send(InteractionSuperseded(event_id="a", by="b"))
        await peer.next()
        await peer.fail(ErrorCode.INTERACTIONS_FULL, fatal=False, event_id="b")
        await peer.next()
        await peer.done(0)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        first = await session.prompt("one", event_id="a")
        await first.wait_queued()
        with pytest.raises(RequestRefused, match="superseded"):
            await first.wait_received()
        second = await session.prompt("two", event_id="b")
        with pytest.raises(RequestRefused, match="interactions_full"):
            await second.wait_queued()
        third = await session.prompt("three")
        with pytest.raises(SessionEnded):
            await third.wait_received()


async def test_server_that_falls_silent() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        while True:
            await peer.next()

    async with fake_server(script) as server, connect(server.url, IMPATIENT) as session:
        await session.start("a fox")
        with pytest.raises(WaitTimeout, match=r"expected a message from the server within 4\.0 s"):
            await collect(session)


async def test_start_without_an_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.next()
        await peer.next()

    async with fake_server(script) as server, connect(server.url, IMPATIENT) as session:
        with pytest.raises(WaitTimeout, match=r"expected video\.start within 4 s"):
            await session.start("a fox")


@pytest.mark.parametrize("started", [False, True])
async def test_connection_that_ends_without_a_word(started: bool) -> None:
    async def script(peer: Peer) -> None:
        if started:
            await peer.start()
        else:
            await peer.next()
        await peer.socket.close(1012, "restart")

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        with pytest.raises(ConnectionLost, match=r"closed with 1012 \(restart\)") as lost:
            await start_and_collect(session)
        assert lost.value.close_code == 1012


async def test_connection_that_breaks() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        peer.socket.transport.abort()

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        with pytest.raises(ConnectionLost, match="the connection broke"):
            await collect(session)


async def test_slow_consumer_is_waited_for_and_loses_nothing() -> None:
    size, count = 256 * 1024, 200
    frame = FramePart(offset=0, length=size, pts=0.0)
    sent = []

    async def script(peer: Peer) -> None:
        await peer.start()
        for sequence in range(count):
            await peer.chunk(sequence, payload=bytes(size), byte_length=size, num_frames=1, frames=(frame,))
            sent.append(sequence)
        await peer.done(count)

    async with fake_server(script) as server, connect(server.url, ClientOptions(buffer_chunks=2)) as session:
        await session.start("a fox")
        progress = -1
        while progress < len(sent):
            progress = len(sent)
            await asyncio.sleep(0.05)
        # Two in our queue, one in the reader's hands, two in the library; the rest are the kernel's socket buffers.
        assert progress < count // 2
        assert await collect(session) == list(range(count))
        assert session.missing == 0


async def test_calls_that_make_no_sense_are_refused_by_name() -> None:
    async with fake_server(whole_take) as server:
        async with connect(server.url, QUICK) as session:
            with pytest.raises(ClientStateError, match="prompt: expected a session that is running, it is connected"):
                await session.prompt("a boat")
            with pytest.raises(ClientStateError, match="stop: expected"):
                await session.stop()
            with pytest.raises(ClientStateError, match=r"video\.start has not come"):
                _ = session.info
            with pytest.raises(ProtocolError, match="seed"):
                await session.start("a fox", seed=-1)
            await session.start("a fox", max_seconds=1.0)
            with pytest.raises(ClientStateError, match="start: expected a session that is connected"):
                await session.start("a fox")
            await collect(session)
            await session.stop()
        with pytest.raises(ClientStateError, match="it is ended"):
            await session.prompt("a boat")


async def test_finish_throws_the_rest_away_and_says_how_it_ended() -> None:
    async with fake_server(whole_take) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        async for _ in session:
            break
        done = await session.finish()
        assert done.reason == "stopped"
        assert done.journal == {"version": 1, "events": []}
        assert isinstance(server.peers[0].received[-1], SessionStop)


async def test_close_wakes_whoever_iterates() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.next()

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        waiting = asyncio.create_task(collect(session))
        await asyncio.sleep(0.01)
        await session.close()
        assert await waiting == []
        with pytest.raises(SessionEnded, match="before it"):
            await session.finish()


async def test_pings_measure_the_way_and_keep_the_session_alive() -> None:
    async def script(peer: Peer) -> None:
        await peer.start(limits=LIMITS.model_copy(update={"idle_timeout_s": 0.03}))
        while not [m for m in peer.received if isinstance(m, SessionPing) and m.id is None]:
            await peer.next()
        while not [m for m in peer.received if isinstance(m, SessionPing) and m.id]:
            await peer.next()
        await peer.send(SessionPong(id="ping-1"))
        await peer.done(0)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        await session.start("a fox")
        assert await session.ping() > 0.0
        assert await collect(session) == []


async def test_fault_of_the_client_itself_reaches_whoever_iterates(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    async with fake_server(whole_take) as server, connect(server.url, QUICK) as session:
        monkeypatch.setattr(session, "_on_start", fail)
        with pytest.raises(ClientError, match="the client itself failed: ZeroDivisionError"):
            await session.start("a fox")
