"""The client without asyncio: a plain program in a thread, against the fake server."""

import asyncio
import threading

import pytest

from client import sync
from client.connection import ClientOptions
from client.errors import ClientStateError, ConnectFailed, SessionFailed
from client.receiving import SessionState
from service.protocol.server import SessionQueued
from tests.client.fake_server import FRAMES, HEIGHT, WIDTH, Peer, fake_server, whole_take

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0)


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "longtake-client"]


async def test_a_take_without_asyncio() -> None:
    def program(url: str) -> None:
        with sync.connect(url, QUICK) as session:
            assert session.start("a fox", seed=7, pacing="none", max_seconds=600.0).seed == 7
            assert next(session).numpy().shape == (FRAMES, HEIGHT, WIDTH, 3)
            assert session.ping() > 0.0
            switch = session.prompt("a boat")
            session.wait_queued(switch)
            for chunk in session:
                if chunk.sequence == switch.sequence:
                    session.stop()
            assert session.wait_received(switch) == switch.sequence
            assert (session.missing, session.duplicated, session.state) == (0, 0, SessionState.ENDED)
            assert session.done is not None
            assert session.finish().reason == session.done.reason == "stopped"
            assert (session.info.width, session.stats, session.queued, session.notices()) == (WIDTH, None, None, ())

    async def script(peer: Peer) -> None:
        await whole_take(peer, chunk_seconds=0.01)

    async with fake_server(script) as server:
        await asyncio.to_thread(program, server.url)
    assert client_threads() == []


async def test_controls_and_notices() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(SessionQueued(position=1, waiting=1))
        await peer.start()
        for _ in range(3):
            await peer.control(await peer.next())
        await peer.next()
        await peer.done(0)

    def program(url: str) -> None:
        with sync.connect(url, QUICK) as session:
            session.start("a fox")
            answers = [session.pause(), session.resume(), session.set_quality(9)]
            assert [answer.action for answer in answers] == ["pause", "resume", "quality"]
            session.report_playback(0.0)
            assert session.notices() == (SessionQueued(position=1, waiting=1),)
            session.finish()

    async with fake_server(script) as server:
        await asyncio.to_thread(program, server.url)


async def test_errors_come_as_they_are_and_nothing_stays_behind() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.fail("worker_died")

    def program(url: str) -> None:
        with sync.connect(url, QUICK) as session:
            session.start("a fox")
            assert next(session).sequence == 0
            with pytest.raises(SessionFailed, match="worker_died"):
                next(session)
        with pytest.raises(ClientStateError, match="its context was left"):
            session.ping()
        with pytest.raises(ZeroDivisionError), sync.connect(url, QUICK):
            raise ZeroDivisionError

    async with fake_server(script) as server:
        await asyncio.to_thread(program, server.url)
    assert client_threads() == []


def test_nobody_listens() -> None:
    with pytest.raises(ConnectFailed), sync.connect("ws://127.0.0.1:1"):
        pass
    assert client_threads() == []
