"""What is asked of other machines: where it goes, how far it reads, where it does not go; with servers of the test."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.outbound.fetching import Outbound, outbound_of
from tests.service.outbound.servers import Names, listening, moved, ok, saying, way_out

BODY = b"a picture"


async def refused(out: Outbound, url: str, *, most: int = 1000) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        await out.fetch(url, field="input_reference.image_url", max_bytes=most)
    assert caught.value.field == "input_reference.image_url"
    assert "secret" not in caught.value.message
    return caught.value.code


async def test_a_body_comes_whole_and_the_request_says_little() -> None:
    names = Names({"pictures.example": ["127.0.0.1"]})
    async with listening(saying(ok(BODY[:4], "X: y"))) as server:
        url = f"http://pictures.example:{server.port}/a?b"
        assert await way_out(names).fetch(url, field="", max_bytes=4) == BODY[:4]
        lines = server.asked[0].decode().split("\r\n")
        assert lines[0] == "GET /a?b HTTP/1.1"
        assert sorted(line.partition(":")[0] for line in lines[1:-2]) == [
            "Accept-Encoding",
            "Connection",
            "Host",
            "User-Agent",
        ]
        assert f"Host: pictures.example:{server.port}" in lines
        assert names.asked == ["pictures.example"]


async def test_a_name_that_changes_is_asked_once_and_the_first_answer_is_used() -> None:
    """The first address counts as public; the second, which a rebinding name gives later, is never connected to."""
    names = Names({"pictures.example": ["127.0.0.1", "127.0.0.2"]})
    async with (
        listening(saying(ok(BODY))) as outside,
        listening(saying(ok(b"secret")), "127.0.0.2", outside.port) as inside,
    ):
        url = f"http://pictures.example:{outside.port}/"
        assert await way_out(names).fetch(url, field="", max_bytes=100) == BODY
        assert (len(outside.asked), inside.asked) == (1, [])
        assert await refused(way_out(names), url) is ErrorCode.URL_FORBIDDEN
        assert inside.asked == []


@pytest.mark.parametrize("addresses", ["127.0.0.2", "127.0.0.1 127.0.0.2", "10.0.0.1", "::1", "::ffff:127.0.0.2"])
async def test_a_name_that_leads_inside_is_not_followed(addresses: str) -> None:
    async with listening(saying(ok(b"secret")), "127.0.0.2") as inside:
        names = Names({"pictures.example": [addresses]})
        assert await refused(way_out(names), f"http://pictures.example:{inside.port}/") is ErrorCode.URL_FORBIDDEN
        assert inside.asked == []


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "[::ffff:7f00:2]", "169.254.169.254", "[fd00::1]", "0.0.0.0"])
async def test_addresses_in_numbers(host: str) -> None:
    assert await refused(way_out(), f"http://{host}/") is ErrorCode.URL_FORBIDDEN


@pytest.mark.parametrize("host", ["2130706434", "0x7f000002", "017700000002", "127.2", "localhost"])
async def test_names_that_a_resolver_may_read_as_numbers(host: str) -> None:
    """Whatever the machine's resolver makes of them is judged like any other answer."""
    out = Outbound(rule=way_out().rule, http_allowed=True, timeout=60.0)
    assert await refused(out, f"http://{host}:9/") in (ErrorCode.URL_FORBIDDEN, ErrorCode.URL_FAILED)


async def test_redirects_are_followed_a_few_times_and_never_inside() -> None:
    names = Names({"pictures.example": ["127.0.0.1"], "inside.example": ["127.0.0.2"]})
    async with listening(saying(ok(b"secret")), "127.0.0.2") as inside, listening(saying(ok(BODY))) as last:
        target = f"http://pictures.example:{last.port}/last"
        async with listening(saying(moved(target, 307))) as first:
            url = f"http://pictures.example:{first.port}/"
            assert await way_out(names).fetch(url, field="", max_bytes=100) == BODY
            assert await refused(way_out(names, redirects=0), url) is ErrorCode.URL_FAILED
        for location, code in (
            (f"http://inside.example:{inside.port}/", ErrorCode.URL_FORBIDDEN),
            (f"http://127.0.0.2:{inside.port}/", ErrorCode.URL_FORBIDDEN),
            (f"//127.0.0.2:{inside.port}/", ErrorCode.URL_FORBIDDEN),
            ("http://169.254.169.254/latest/meta-data", ErrorCode.URL_FORBIDDEN),
            ("file:///etc/passwd", ErrorCode.URL_INVALID),
            ("ftp://pictures.example/", ErrorCode.URL_INVALID),
        ):
            async with listening(saying(moved(location))) as first:
                assert await refused(way_out(names), f"http://pictures.example:{first.port}/") is code, location
        async with listening(saying(moved("/again"))) as loop:
            assert await refused(way_out(names), f"http://pictures.example:{loop.port}/") is ErrorCode.URL_FAILED
            assert len(loop.asked) == 4
        assert inside.asked == []


async def test_it_reads_no_further_than_its_bound() -> None:
    sent = 0

    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
            await writer.drain()
            sent += 1 << 16

    async with listening(endless) as server:
        url = f"http://pictures.example:{server.port}/"
        assert await refused(way_out(), url, most=100_000) is ErrorCode.URL_TOO_LARGE
        assert sent < 1 << 26  # what the sockets of this machine hold, and not for ever
    told = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    async with listening(saying(told)) as server:
        url = f"http://pictures.example:{server.port}/"
        assert await refused(way_out(), url) is ErrorCode.URL_TOO_LARGE


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"SSH-2.0-server\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 60_000 + b"\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda answer: answer[:40].decode() or "nothing",
)
async def test_answers_that_are_none(answer: bytes) -> None:
    async with listening(saying(answer)) as server:
        code = await refused(way_out(), f"http://pictures.example:{server.port}/")
        assert code is ErrorCode.URL_FAILED


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def never(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with listening(never) as server:
        out = way_out(timeout=0.2)
        assert await refused(out, f"http://pictures.example:{server.port}/") is ErrorCode.URL_FAILED
    assert await refused(way_out(), f"http://pictures.example:{server.port}/") is ErrorCode.URL_FAILED
    assert await refused(way_out(), "http://nowhere.example/") is ErrorCode.URL_FAILED


async def test_a_post_is_sent_whole_and_leads_nowhere_else() -> None:
    async with listening(saying(ok(b"thanks"))) as server:
        status = await way_out().post(
            f"http://pictures.example:{server.port}/hook", b'{"a": 1}', headers={"webhook-id": "m"}, field="webhook_url"
        )
        assert status == 200
        head, _, body = server.asked[0].partition(b"\r\n\r\n")
        assert (head.splitlines()[0], body) == (b"POST /hook HTTP/1.1", b'{"a": 1}')
        assert b"webhook-id: m" in head
    async with listening(saying(moved("http://127.0.0.2/"))) as server:
        url = f"http://pictures.example:{server.port}/"
        assert await way_out().post(url, b"", headers={}, field="") == 302


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pictures.example"]
    words += ["-addext", "subjectAltName=DNS:pictures.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return key, certificate


@pytest.mark.system
async def test_the_certificate_is_that_of_the_name_though_the_address_was_chosen(
    certificate: tuple[Path, Path],
) -> None:
    key, file = certificate
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(file, key)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(BODY))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    names = Names({"pictures.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    trusting = ssl.create_default_context(cafile=str(file))
    async with server:
        out = way_out(names, http_allowed=False, tls=trusting)
        assert await out.fetch(f"https://pictures.example:{port}/", field="", max_bytes=100) == BODY
        assert await refused(out, f"https://other.example:{port}/") is ErrorCode.URL_FAILED
        unknown = way_out(names, http_allowed=False)
        assert await refused(unknown, f"https://pictures.example:{port}/") is ErrorCode.URL_FAILED


def test_settings() -> None:
    out = outbound_of(ServiceConfig())
    assert (out.http_allowed, out.rule.also, out.timeout, out.redirects) == (False, (), 10.0, 3)
