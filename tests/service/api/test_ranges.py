"""Ranges of files: what a header asks for, and what is answered, byte for byte."""

import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st

from service.api.files import ServedFile, file_response
from service.api.ranges import MOST_RANGES, Span, Wanted, wanted

DATA = bytes(range(256)) * 4
ETAG = hashlib.sha256(DATA).hexdigest()


def ranges(header: str, size: int = 1000) -> Wanted | tuple[Span, ...]:
    return wanted({"range": header}, size=size, etag=ETAG)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (Span(0, 0),)),
        ("bytes=0-", (Span(0, 999),)),
        ("bytes=990-2000", (Span(990, 999),)),
        ("bytes=-1", (Span(999, 999),)),
        ("bytes=-5000", (Span(0, 999),)),
        (" BYTES = 1-2", (Span(1, 2),)),
        ("bytes=5-6, 1-2", (Span(1, 2), Span(5, 6))),
        ("bytes=0-9,5-19,20-29", (Span(0, 29),)),
        ("bytes=0-0,5000-", (Span(0, 0),)),
        ("bytes=1000-", Wanted.OUTSIDE),
        ("bytes=-0", Wanted.OUTSIDE),
        ("bytes=" + ",".join(["0-1"] * (MOST_RANGES + 1)), Wanted.OUTSIDE),
        ("bytes=2-1", Wanted.WHOLE),
        ("bytes=-", Wanted.WHOLE),
        ("bytes=", Wanted.WHOLE),
        ("bytes=a-b", Wanted.WHOLE),
        ("bytes=1-2-3", Wanted.WHOLE),
        ("bytes=+1-2", Wanted.WHOLE),
        ("lines=0-1", Wanted.WHOLE),
        ("0-1", Wanted.WHOLE),
        ("bytes=0-" + "9" * 30, Wanted.WHOLE),
    ],
)
def test_what_a_header_asks_for(header: str, expected: Wanted | tuple[Span, ...]) -> None:
    assert ranges(header) == expected


def test_an_empty_file_has_no_ranges() -> None:
    assert ranges("bytes=0-", size=0) is ranges("bytes=-1", size=0) is Wanted.OUTSIDE


@given(st.text(alphabet="bytes=0123456789-, ", max_size=60), st.integers(0, 300))
def test_ranges_lie_inside_and_apart(text: str, size: int) -> None:
    found = ranges(f"bytes={text}", size=size)
    if isinstance(found, tuple):
        assert all(0 <= span.first <= span.last < size for span in found)
        assert all(a.last + 1 < b.first for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if-none-match": f'"{ETAG}"'}, Wanted.NOTHING_NEW),
        ({"if-none-match": f'W/"{ETAG}"'}, Wanted.NOTHING_NEW),
        ({"if-none-match": '"a", "b"'}, Wanted.WHOLE),
        ({"if-none-match": "*"}, Wanted.NOTHING_NEW),
        ({"if-match": f'"{ETAG}"'}, Wanted.WHOLE),
        ({"if-match": f'W/"{ETAG}"'}, Wanted.CHANGED),
        ({"range": "bytes=0-1", "if-range": f'"{ETAG}"'}, (Span(0, 1),)),
        ({"range": "bytes=0-1", "if-range": '"other"'}, Wanted.WHOLE),
        ({"range": "bytes=0-1", "if-range": "Wed, 21 Oct 2015 07:28:00 GMT"}, Wanted.WHOLE),
        ({"range": "bytes=0-1", "if-none-match": f'"{ETAG}"'}, Wanted.NOTHING_NEW),
    ],
)
def test_conditions(headers: dict[str, str], expected: Wanted | tuple[Span, ...]) -> None:
    assert wanted(headers, size=10, etag=ETAG) == expected


@pytest.fixture(name="client")
async def _client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    path, app = tmp_path / "file", FastAPI()
    path.write_bytes(DATA)
    opened = []

    @app.api_route("/file", methods=["GET", "HEAD"], response_class=Response)
    async def file(request: Request) -> Response:
        opened.append(path.open("rb"))
        served = ServedFile(file=opened[-1], size=len(DATA), etag=ETAG, media_type="video/mp4", name="a.mp4")
        return file_response(request, served)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        yield client
    assert opened
    assert all(file.closed for file in opened)


async def test_the_whole_file_and_its_head(client: httpx2.AsyncClient) -> None:
    whole, head = await client.get("/file"), await client.head("/file")
    assert whole.content == DATA
    assert (head.content, head.status_code) == (b"", 200)
    names = ("Content-Length", "Content-Type", "ETag", "Accept-Ranges", "Content-Disposition")
    assert [head.headers[name] for name in names] == [whole.headers[name] for name in names]
    assert (whole.headers["Content-Length"], whole.headers["Content-Type"]) == (str(len(DATA)), "video/mp4")
    assert whole.headers["ETag"] == f'"{ETAG}"'


async def test_one_range_and_none(client: httpx2.AsyncClient) -> None:
    part = await client.get("/file", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, DATA[10:20], "bytes 10-19/1024")
    head = await client.head("/file", headers={"Range": "bytes=10-19"})
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (206, b"", "10")
    outside = await client.get("/file", headers={"Range": "bytes=1024-"})
    assert (outside.status_code, outside.headers["Content-Range"]) == (416, "bytes */1024")
    assert outside.json()["code"] == "range_invalid"


async def test_a_whole_download_goes_on_where_it_was(client: httpx2.AsyncClient) -> None:
    first = await client.get("/file", headers={"Range": "bytes=0-499"})
    rest = await client.get("/file", headers={"Range": "bytes=500-", "If-Range": first.headers["ETag"]})
    assert first.content + rest.content == DATA
    changed = await client.get("/file", headers={"Range": "bytes=500-", "If-Range": '"older"'})
    assert (changed.status_code, changed.content) == (200, DATA)


async def test_several_ranges_are_parts(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/file", headers={"Range": "bytes=0-3,100-103,-2"})
    kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
    assert (answer.status_code, kind) == (206, "multipart/byteranges")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    parts = answer.content.split(f"--{boundary}".encode())
    assert (parts[0], parts[-1]) == (b"\r\n", b"--\r\n")
    bodies = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]]
    assert bodies == [DATA[0:4], DATA[100:104], DATA[-2:]]
    assert all(b"Content-Range: bytes " in part for part in parts[1:-1])


async def test_what_is_known_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    same = await client.get("/file", headers={"If-None-Match": f'"{ETAG}"'})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", f'"{ETAG}"')
    assert (await client.get("/file", headers={"If-Match": '"other"'})).status_code == 412
