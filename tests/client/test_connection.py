"""Addresses, and connections that do not come about."""

import socket

import pytest
from websockets.asyncio.server import serve

from client.client import connect
from client.connection import ClientOptions, realtime_url
from client.errors import ClientError, ConnectFailed


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000/v1/realtime/video"),
        ("http://host:8000/", "ws://host:8000/v1/realtime/video"),
        ("https://host/longtake/", "wss://host/longtake/v1/realtime/video"),
        ("wss://host/v1/realtime/video", "wss://host/v1/realtime/video"),
        ("localhost:8000", "ws://localhost:8000/v1/realtime/video"),
        ("ws://host/v1/realtime/video?token=t", "ws://host/v1/realtime/video?token=t"),
    ],
)
def test_address_that_is_meant(given: str, meant: str) -> None:
    assert realtime_url(given) == meant


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectFailed, match=f"expected a Longtake server at ws://127.0.0.1:{port}/v1"):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_server_that_says_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectFailed):
            async with connect(url, ClientOptions(open_timeout=0.05)):
                pass


async def test_server_that_speaks_another_protocol() -> None:
    async def refuse(connection: object, request: object) -> object:
        return connection.respond(403, "no")  # type: ignore[attr-defined]

    async def nothing(connection: object) -> None:
        pass

    async with serve(nothing, "127.0.0.1", 0, process_request=refuse) as server:  # type: ignore[arg-type]
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ConnectFailed, match="403"):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


@pytest.mark.parametrize("url", ["ftp://host", "ws://"])
async def test_address_that_is_none(url: str) -> None:
    with pytest.raises(ConnectFailed):
        async with connect(url):
            pass


def test_every_error_is_a_client_error() -> None:
    assert issubclass(ConnectFailed, ClientError)
