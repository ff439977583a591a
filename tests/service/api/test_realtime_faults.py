"""Faults of our own side, over real sockets: the connection they happen in ends in order, the others go on."""

import asyncio
import math

import msgspec
import pytest

from service import ipc
from service.api.realtime import Connection
from service.api.reply import Reply
from service.errors import CloseCode, ErrorCode
from service.protocol.client import SessionPing, SessionStart
from service.protocol.server import ErrorMessage, SessionPong, SessionWarning, VideoStart
from tests.service.api.running import FAST, Running, Talk, running

START = SessionStart(prompt="a lighthouse", pacing="none")


async def started(service: Running, talk: Talk) -> str:
    service.worker.streaming = False
    await talk.say(START)
    await talk.hear_until(VideoStart)
    return next(iter(service.worker.worker.sessions))


async def ends_with(talk: Talk, code: ErrorCode, close: CloseCode) -> None:
    error = await talk.error()
    assert (error.code, error.fatal) == (code, True)
    assert await talk.closed() == close


async def still_answers(talk: Talk) -> None:
    await talk.say(SessionPing(id="still here"))
    assert (await talk.hear_until(SessionPong, ErrorMessage))[-1].message == SessionPong(id="still here")


async def test_an_event_that_makes_no_message_ends_its_session_only(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as service, service.connection() as talk, service.connection() as other:
        name = await started(service, talk)
        chunk = msgspec.structs.replace(service.worker.worker.chunk(name, 0), pts=math.nan)
        service.worker.link.emit(chunk)
        await ends_with(talk, ErrorCode.INTERNAL_ERROR, CloseCode.INTERNAL)
        await still_answers(other)
        assert service.client.ready
    assert f"session {name} failed" in caplog.text


async def test_a_fault_while_reading_is_said_logged_and_frees_the_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(command: ipc.Command) -> None:
        raise ZeroDivisionError("a bug")

    async with running() as service, service.connection() as talk, service.connection() as other:
        await started(service, talk)
        monkeypatch.setattr(service.client, "send", broken)
        await talk.say('{"type": "session.interaction", "event_id": "e", "prompt": "a"}')
        await ends_with(talk, ErrorCode.INTERNAL_ERROR, CloseCode.INTERNAL)
        await still_answers(other)
        async with asyncio.timeout(20):
            while service.client.sessions:
                await asyncio.sleep(0.01)
    assert "websocket-reader failed" in caplog.text
    assert "a bug" in caplog.text


async def test_more_messages_than_there_is_room_for_end_the_session(caplog: pytest.LogCaptureFixture) -> None:
    connections: list[Connection] = []

    class Caught(Connection):
        async def run(self) -> None:
            connections.append(self)
            await super().run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.api.app.Connection", Caught)
        async with running(FAST.model_copy(update={"control_queue": 8})) as service, service.connection() as talk:
            await started(service, talk)
            for index in range(9):
                connections[0].tell(Reply(SessionWarning(code="prompt_truncated", message=str(index))))
            await ends_with(talk, ErrorCode.SLOW_CONSUMER, CloseCode.POLICY)
    assert "client too slow" in caplog.text
