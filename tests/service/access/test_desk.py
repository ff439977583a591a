"""The desk: who comes with what, where a key is asked for, and what tokens open."""

from pathlib import Path

import pytest

from service.access.desk import OPEN_TO_ALL, Credentials, Desk, check_exposed, is_loopback
from service.access.keys import KeyWish
from service.access.principal import LOCAL, Principal, Scope
from service.config import ServiceConfig
from service.errors import ConfigError, ErrorCode, SessionError
from tests.service.access.desks import Clock, end_key, office

HERE, THERE = "127.0.0.1", "192.0.2.7"
WISH = KeyWish(tenant="studio")


async def code_of(desk: Desk, given: Credentials, address: str = THERE) -> ErrorCode:
    with pytest.raises(SessionError) as caught:
        await desk.identify(given, client_address=address)
    return caught.value.code


@pytest.mark.parametrize(
    ("settings", "here", "there"),
    [
        ({}, LOCAL, None),
        ({"host": "::1"}, LOCAL, None),
        ({"host": "0.0.0.0"}, None, None),
        ({"authentication": "always"}, None, None),
        ({"authentication": OPEN_TO_ALL, "host": "0.0.0.0"}, LOCAL, LOCAL),
    ],
)
async def test_who_needs_no_key(
    tmp_path: Path, settings: dict[str, object], here: Principal | None, there: Principal | None
) -> None:
    with office(tmp_path, **settings) as found:
        assert await found.desk.identify(Credentials(), client_address=HERE) == here
        assert await found.desk.identify(Credentials(), client_address=THERE) == there


async def test_a_key_is_its_tenants(tmp_path: Path) -> None:
    with office(tmp_path, authentication="always") as found:
        key = found.make(WISH)
        principal = await found.desk.identify(Credentials(key=key), client_address=THERE)
        assert principal == Principal("studio", key.split("_")[1], frozenset({Scope.SESSIONS, Scope.VIDEOS}))
        for wrong in ("", "Bearer", key[:-1], key + "a", key.replace("ltk_", "ltk_0", 1)):
            assert await code_of(found.desk, Credentials(key=wrong)) is ErrorCode.KEY_INVALID
        end_key(tmp_path, key)
        assert await code_of(found.desk, Credentials(key=key)) is ErrorCode.KEY_INVALID


async def test_a_key_ends_with_its_time(tmp_path: Path) -> None:
    with office(tmp_path) as found:
        key = found.make(KeyWish(tenant="studio", expires_at=found.clock.now + 10))
        assert await found.desk.identify(Credentials(key=key), client_address=HERE) is not None
        found.clock.now += 10
        assert await code_of(found.desk, Credentials(key=key), HERE) is ErrorCode.KEY_INVALID


async def test_where_no_key_is_needed_a_foreign_one_is_none_and_one_of_ours_has_to_be_good(tmp_path: Path) -> None:
    with office(tmp_path) as found:
        assert await found.desk.identify(Credentials(key="sk-unused"), client_address=HERE) == LOCAL
        key = found.make(WISH)
        end_key(tmp_path, key)
        assert await code_of(found.desk, Credentials(key=key), HERE) is ErrorCode.KEY_INVALID


async def test_a_token_opens_one_websocket_once(tmp_path: Path) -> None:
    with office(tmp_path, authentication="always") as found:
        who = await found.desk.identify(Credentials(key=found.make(WISH)), client_address=THERE)
        assert who is not None
        token = (await found.desk.issue(who, path=None)).token
        assert await code_of(found.desk, Credentials(path_token=token, path="/v1/x")) is ErrorCode.TOKEN_INVALID
        assert await found.desk.identify(Credentials(socket_token=token), client_address=THERE) == who
        assert await code_of(found.desk, Credentials(socket_token=token)) is ErrorCode.TOKEN_INVALID
        late = (await found.desk.issue(who, path=None)).token
        found.clock.now += found.desk.config.token_seconds
        assert await code_of(found.desk, Credentials(socket_token=late)) is ErrorCode.TOKEN_INVALID


async def test_a_token_of_a_file_opens_that_file_until_its_time(tmp_path: Path) -> None:
    with office(tmp_path, authentication="always") as found:
        who = await found.desk.identify(Credentials(key=found.make(WISH)), client_address=THERE)
        assert who is not None
        token = (await found.desk.issue(who, path="/v1/x")).token
        for _ in range(3):
            given = Credentials(path_token=token, path="/v1/x")
            assert await found.desk.identify(given, client_address=THERE) == who
        assert await code_of(found.desk, Credentials(path_token=token, path="/v1/y")) is ErrorCode.TOKEN_INVALID
        assert await code_of(found.desk, Credentials(socket_token=token)) is ErrorCode.TOKEN_INVALID
        found.clock.now += found.desk.config.media_token_seconds
        assert await code_of(found.desk, Credentials(path_token=token, path="/v1/x")) is ErrorCode.TOKEN_INVALID


async def test_tokens_end_with_their_key(tmp_path: Path) -> None:
    with office(tmp_path, authentication="always") as found:
        key = found.make(WISH)
        who = await found.desk.identify(Credentials(key=key), client_address=THERE)
        assert who is not None
        tokens = [(await found.desk.issue(who, path=path)).token for path in (None, "/v1/x")]
        end_key(tmp_path, key)
        assert await code_of(found.desk, Credentials(socket_token=tokens[0])) is ErrorCode.TOKEN_INVALID
        assert await code_of(found.desk, Credentials(path_token=tokens[1], path="/v1/x")) is ErrorCode.TOKEN_INVALID


async def test_a_key_has_so_many_tokens_and_room_again_when_they_are_old(tmp_path: Path) -> None:
    with office(tmp_path, max_tokens=2) as found:
        for _ in range(2):
            await found.desk.issue(LOCAL, path=None)
        with pytest.raises(SessionError) as caught:
            await found.desk.issue(LOCAL, path=None)
        assert caught.value.code is ErrorCode.QUOTA_EXCEEDED
        found.clock.now += found.desk.config.token_seconds
        await found.desk.issue(LOCAL, path=None)


async def test_a_server_for_others_has_a_key_or_is_told_to_do_without(tmp_path: Path) -> None:
    with office(tmp_path, host="0.0.0.0") as found:
        with pytest.raises(ConfigError, match="0\\.0\\.0\\.0 needs a key, and there is none"):
            await check_exposed(found.desk)
        key = found.make(WISH)
        clock = Clock()
        await check_exposed(found.desk)
        end_key(tmp_path, key)
        with pytest.raises(ConfigError):
            await check_exposed(found.desk)
        for settings in ({}, {"host": "0.0.0.0", "authentication": OPEN_TO_ALL}):
            await check_exposed(Desk(found.store.keys, ServiceConfig.model_validate(settings), clock=clock))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("", False),
        ("evil.localhost.example", False),
    ],
)
def test_what_is_of_the_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
