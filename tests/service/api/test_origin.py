"""Who may open the WebSocket: same origin, listed origins, programs on this machine; names that point here."""

import pytest

from service.api.origin import Handshake, refusal_of
from service.errors import ErrorCode

HERE = "127.0.0.1"
LAN = "192.168.1.20"


def refused(handshake: Handshake, allowed: tuple[str, ...] = (), *, anybody: bool = False) -> ErrorCode | None:
    return refusal_of(handshake, allowed_origins=allowed, missing_origin_allowed=anybody)


@pytest.mark.parametrize(
    ("origin", "host", "server"),
    [
        ("http://localhost:8000", "localhost:8000", HERE),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", HERE),
        ("http://[::1]:8000", "[::1]:8000", "::1"),
        ("http://LOCALHOST:8000", "localhost:8000", HERE),
        ("http://app.localhost:8000", "app.localhost:8000", HERE),
        ("http://192.168.1.5:8000", "192.168.1.5:8000", LAN),
        ("https://video.example", "video.example", LAN),
        ("https://video.example:443", "video.example", LAN),
        ("http://video.example", "video.example:80", LAN),
    ],
)
def test_the_pages_own_origin_is_welcome(origin: str, host: str, server: str) -> None:
    assert refused(Handshake(origin, host, client_address=LAN, server_address=server)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:8001",
        "http://localhost",
        "http://localhost:8000.evil.example",
        "http://evil.example@localhost:8000",
        "http://localhost:8000@evil.example",
        "http://notlocalhost:8000",
        "ftp://localhost:8000",
        "file://",
        "null",
        "",
        "http://[::1",
        "localhost:8000",
    ],
)
def test_another_origin_is_not(origin: str) -> None:
    handshake = Handshake(origin, "localhost:8000", client_address=HERE, server_address=HERE)
    assert refused(handshake) is ErrorCode.ORIGIN_FORBIDDEN


def test_a_foreign_name_that_points_at_this_machine_is_not_its_own_origin() -> None:
    handshake = Handshake("http://evil.example:8000", "evil.example:8000", HERE, HERE)
    assert refused(handshake) is ErrorCode.ORIGIN_FORBIDDEN
    assert refused(handshake, ("http://evil.example:8000",)) is None


def test_a_listed_origin_is_compared_as_a_whole() -> None:
    handshake = Handshake("https://studio.example", "video.example", LAN, LAN)
    assert refused(handshake) is ErrorCode.ORIGIN_FORBIDDEN
    assert refused(handshake, ("https://studio.example",)) is None
    assert refused(handshake, ("http://studio.example", "https://studio.example:8443")) is ErrorCode.ORIGIN_FORBIDDEN


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (HERE, None),
        ("127.8.8.8", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        (LAN, ErrorCode.ORIGIN_FORBIDDEN),
        ("", ErrorCode.ORIGIN_FORBIDDEN),
        ("testclient", ErrorCode.ORIGIN_FORBIDDEN),
    ],
)
def test_without_an_origin_only_programs_on_this_machine_are_welcome(address: str, code: ErrorCode | None) -> None:
    handshake = Handshake(None, "video.example", client_address=address, server_address=LAN)
    assert refused(handshake) is code
    assert refused(handshake, anybody=True) is None


@pytest.mark.parametrize(
    ("offered", "code"),
    [
        ((), None),
        (("longtake.v1",), None),
        (("longtake.v2", "longtake.v1"), None),
        (("longtake.v2",), ErrorCode.SUBPROTOCOL_UNSUPPORTED),
    ],
)
def test_one_of_the_offered_subprotocols_must_be_ours(offered: tuple[str, ...], code: ErrorCode | None) -> None:
    assert refused(Handshake(None, "localhost:8000", HERE, HERE, offered)) is code
