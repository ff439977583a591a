"""A picture sent over HTTP: to the real route, to servers that answer wrongly, and named in `session.start`."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from client.client import connect
from client.errors import ConnectFailed, ProtocolViolation, RequestRefused
from client.http import Server
from client.pictures import parse_picture_id, send_picture
from client.requests import Media
from service.protocol.client import SessionStart
from tests.client.fake_server import Peer, fake_server


class Handler(BaseHTTPRequestHandler):
    """Answers with what its server was told, and keeps what came."""

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, PictureServer)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.came.append((self.path, body, self.headers.get("Origin")))
        self.send_response(server.status)
        self.end_headers()
        self.wfile.write(server.answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is its own."""


class PictureServer(HTTPServer):
    status = 201
    answer = b'{"picture_id": "abc", "expires_seconds": 120.0}'

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.came: list[tuple[str, bytes, str | None]] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server_port}/prefix"


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with PictureServer() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


async def test_bytes_or_a_file_are_sent(server: PictureServer, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"from a file")
    assert await send_picture(Server(server.url), b"bytes") == "abc"
    assert await send_picture(Server(server.url), path) == "abc"
    assert server.came == [
        ("/prefix/v1/pictures", b"bytes", None),
        ("/prefix/v1/pictures", b"from a file", None),
    ]


async def test_a_refusal_has_the_server_s_code(server: PictureServer) -> None:
    server.status = 413
    server.answer = json.dumps({"code": "picture_too_large", "detail": "at most 3 bytes"}).encode()
    with pytest.raises(RequestRefused, match="at most 3 bytes") as caught:
        await send_picture(Server(server.url), b"four")
    assert caught.value.code == "picture_too_large"
    server.answer = b"<html>"
    with pytest.raises(ConnectFailed, match="413"):
        await send_picture(Server(server.url), b"four")


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"picture_id": 3}', b'{"picture_id": ""}', b"\xff"])
def test_an_answer_without_an_id_is_a_violation(answer: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="the id of a picture"):
        parse_picture_id(answer)


async def test_no_server_and_no_file_are_told(server: PictureServer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await send_picture(Server(server.url), tmp_path / "none.png")
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectFailed, match="expected a Longtake server"):
        await send_picture(Server(server.url, timeout=5.0), b"bytes")


async def test_a_start_names_the_picture_that_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake server speaks WebSocket only: the sending is told apart from the naming."""
    sent: list[bytes | Path] = []

    async def send(server: Server, picture: bytes | Path) -> str:
        assert server.url.startswith("ws://127.0.0.1:")
        sent.append(picture)
        return "abc"

    monkeypatch.setattr("client.client.send_picture", send)
    asked: list[SessionStart] = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.start())
        await peer.done(0, "completed")

    async with fake_server(script) as server:
        for media in (Media(picture=b"bytes"), Media(), None):
            async with connect(server.url) as session:
                await session.start("a red ball", media=media)
                assert [chunk async for chunk in session] == []
    assert [message.picture_id for message in asked] == ["abc", None, None]
    assert sent == [b"bytes"]
