"""Downloads over connections that break: the rest is fetched, another file begun anew, and half a file never named."""

from collections.abc import Callable
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from client.downloads import fetch
from client.errors import RequestRefused
from client.http import Server
from tests.client.serving import answering

FILE = bytes(range(256)) * 1000


class Shelf:
    """Gives at most `most` bytes a connection of what `file` says for the number of the request."""

    def __init__(self, file: Callable[[int], bytes], *, most: int) -> None:
        self.file = file
        self.most = most
        self.ranges: list[str | None] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        data = self.file(len(self.ranges))
        asked, tag = request.headers["Range"], f'"{len(data)}"'
        self.ranges.append(asked)
        partial = asked is not None and request.headers["If-Range"] == tag
        rest = data[int(asked[len("bytes=") : -1]) :] if partial and asked is not None else data
        request.send_response(206 if partial else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[: self.most])


async def test_the_rest_is_fetched_after_a_loss(tmp_path: Path) -> None:
    shelf = Shelf(lambda _number: FILE, most=100_000)
    with answering(shelf) as url:
        out = await fetch(Server(url), "/file", out=tmp_path / "file", progress=False, pause=0.01)
    assert out.read_bytes() == FILE
    assert shelf.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert list(tmp_path.iterdir()) == [out]


async def test_another_file_is_begun_anew(tmp_path: Path) -> None:
    other = FILE[::-1][:150_000]
    shelf = Shelf(lambda number: FILE if number == 0 else other, most=160_000)
    with answering(shelf) as url:
        out = await fetch(Server(url), "/file", out=tmp_path / "file", progress=True, pause=0.01)
    assert out.read_bytes() == other


async def test_a_file_that_never_comes_whole_leaves_nothing(tmp_path: Path) -> None:
    with answering(Shelf(lambda _number: FILE, most=0)) as url, pytest.raises(IncompleteRead):
        await fetch(Server(url), "/file", out=tmp_path / "file", progress=False, pause=0.001)
    assert list(tmp_path.iterdir()) == []


async def test_a_refusal_leaves_what_was_there(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        body = b'{"code": "video_not_ready", "detail": "It is made."}'
        request.send_response(409)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    (tmp_path / "file").write_bytes(b"before")
    with answering(answer) as url, pytest.raises(RequestRefused, match="video_not_ready"):
        await fetch(Server(url), "/file", out=tmp_path / "file", progress=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
