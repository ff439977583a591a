"""The registry of connections: counted while they run, ended together, waited for a bounded time."""

import asyncio

import pytest

from service.api.connections import Connections
from service.api.realtime import Connection
from service.api.worker_client import WorkerClient
from service.config import ServiceConfig
from service.errors import ErrorCode
from tests.service.api.running import PATIENCE, running

CONFIG = ServiceConfig()


class FakeConnection(Connection):
    """Keeps what it is told instead of saying it."""

    def __init__(self) -> None:
        self.told: list[ErrorCode] = []

    def end(self, code: ErrorCode, message: str) -> None:
        self.told.append(code)


def test_a_connection_counts_while_it_runs_whatever_happens_in_it() -> None:
    connections = Connections(2)
    with connections.holding(FakeConnection()):
        assert (len(connections), connections.full) == (1, False)
        with connections.holding(FakeConnection()):
            assert connections.full
    with pytest.raises(ZeroDivisionError), connections.holding(FakeConnection()):
        raise ZeroDivisionError
    assert len(connections) == 0


async def test_all_are_told_and_waited_for() -> None:
    connections, connection = Connections(2), FakeConnection()

    async def run() -> None:
        with connections.holding(connection):
            while not connection.told:
                await asyncio.sleep(0.001)

    running_one = asyncio.create_task(run())
    await asyncio.sleep(0)
    await connections.end_all(PATIENCE)
    await running_one
    assert connection.told == [ErrorCode.SERVER_DRAINING]


async def test_one_that_does_not_end_is_not_waited_for_longer_than_asked(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(2)
    with connections.holding(FakeConnection()):
        await connections.end_all(0.01)
    assert "1 connections did not close" in caplog.text


async def test_none_is_done_at_once() -> None:
    await Connections(2).end_all(0.0)


async def test_the_server_counts_what_is_open() -> None:
    async with running() as service:
        async with service.connection() as talk:
            await talk.say('{"type": "session.ping"}')
            await talk.hear()
            assert len(service.state.connections) == 1
        async with asyncio.timeout(PATIENCE):
            while len(service.state.connections):
                await asyncio.sleep(0.005)
    assert isinstance(service.client, WorkerClient)
