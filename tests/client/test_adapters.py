"""Adapters: named by a program, heard by a server as they were named, and told to the worker."""

import asyncio

import pytest

from client import sync
from client.client import connect
from client.connection import ClientOptions
from client.requests import Adapter, Media, Model, PromptChange, interaction_message, start_message
from service import ipc
from service.errors import ErrorCode, ProtocolError
from service.protocol.client import AdapterRequest, SessionInteraction, SessionStart
from service.protocol.server import InteractionQueued
from tests.client.fake_server import Peer, fake_server
from tests.service.api.running import running

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0)
INK, WASH = Adapter("ink"), Adapter("wash", -0.5)


def start(model: str | Model) -> SessionStart:
    return start_message("a fox", model=model, seed=None, media=Media(), pacing="none", max_seconds=None)


def test_none_is_not_said_and_an_empty_set_is() -> None:
    assert start("demo") == start(Model()) == start(Model("demo"))
    assert (start(Model("other")).model, start(Model("other")).adapters) == ("other", None)
    assert start(Model(adapters=())).adapters == ()
    assert interaction_message(PromptChange("a boat"), "e").adapters is None
    assert interaction_message(PromptChange("a boat", adapters=()), "e").adapters == ()


@pytest.mark.parametrize(
    ("adapters", "code", "field"),
    [
        ([Adapter("")], ErrorCode.FIELD_RANGE, "adapters.0.name"),
        ([INK, Adapter("wash", 101.0)], ErrorCode.FIELD_RANGE, "adapters.1.scale"),
        ([Adapter("ink", float("nan"))], ErrorCode.JSON_NUMBER_INVALID, ""),
        ([INK] * 9, ErrorCode.FIELD_RANGE, "adapters"),
    ],
)
def test_what_is_no_adapter_is_refused_before_it_is_sent(adapters: list[Adapter], code: ErrorCode, field: str) -> None:
    for ask in (
        lambda: start(Model(adapters=adapters)),
        lambda: interaction_message(PromptChange("a boat", adapters=adapters), "e"),
    ):
        with pytest.raises(ProtocolError) as refused:
            ask()
        assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_server_hears_what_was_named(blocking: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        asked = await peer.next()
        assert isinstance(asked, SessionInteraction)
        await peer.send(InteractionQueued(event_id=asked.event_id))
        await peer.done(0)

    def program(url: str) -> None:
        with sync.connect(url, QUICK) as session:
            session.start("a fox", model=Model(adapters=[INK, WASH]))
            session.wait_queued(session.prompt("a boat", adapters=[WASH]))

    async with fake_server(script) as server:
        if blocking:
            await asyncio.to_thread(program, server.url)
        else:
            async with connect(server.url, QUICK) as session:
                await session.start("a fox", model=Model(adapters=[INK, WASH]))
                await (await session.prompt("a boat", adapters=[WASH])).wait_queued()
        begun, changed = server.peers[0].received
    wash = AdapterRequest(name="wash", scale=-0.5)
    assert isinstance(begun, SessionStart)
    assert begun.adapters == (AdapterRequest(name="ink"), wash)
    assert isinstance(changed, SessionInteraction)
    assert changed.adapters == (wash,)


async def test_the_worker_is_told_by_the_real_service() -> None:
    async with running() as service, connect(service.url, QUICK) as session:
        await session.start("a fox", model=Model(adapters=[INK]), pacing="none")
        await (await session.prompt("a boat", adapters=[INK, WASH])).wait_queued(60.0)
        told = service.worker.worker.commands
    sets = [command.adapters for command in told if isinstance(command, ipc.Start | ipc.Interact)]
    assert sets == [(ipc.Adapter("ink", 1.0),), (ipc.Adapter("ink", 1.0), ipc.Adapter("wash", -0.5))]
