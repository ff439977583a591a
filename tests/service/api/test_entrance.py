"""Who comes in: every address asks for a key, and the matrix of origins and tokens."""

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from service.access.principal import Scope
from service.api.accounting import keep_accounts, settle_accounts
from service.config import ServiceConfig
from service.errors import CloseCode, ErrorCode
from service.protocol.client import SessionJoin, SessionPing, SessionStart
from service.protocol.server import ErrorMessage, SessionPong, VideoStart
from tests.service.access.desks import end_key
from tests.service.api.keyed import KEYED, Keyed, keyed
from tests.service.api.running import PATIENCE

OPEN = ("/livez", "/readyz", "/healthz")
EVIL = "https://evil.example"
FRIEND = "https://friend.example"


async def refused(found: Keyed, **how: object) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with found.talk(**how):  # type: ignore[arg-type]
            pass
    body = (caught.value.response.body or b"").decode()
    return caught.value.response.status_code, next((code for code in ErrorCode if f'"code":"{code}"' in body), "")


async def test_nobody_without_a_key_reaches_a_route() -> None:
    async with keyed() as found:
        document = (await found.ask("GET", "/openapi.json", None)).json()
        for path, methods in document["paths"].items():
            for method in methods:
                answer = await found.ask(method.upper(), path, None)
                if path in OPEN:
                    assert answer.status_code == 200, path
                else:
                    assert answer.status_code == 401, (method, path)
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/v1/nothing", "/v1/", "/v1/videos/../sessions", "//v1/sessions"):
            assert (await found.ask("GET", path, None)).status_code in (401, 404), path
        assert await refused(found) == (401, ErrorCode.KEY_MISSING)
        assert await refused(found, key="ltk_wrong") == (401, ErrorCode.KEY_INVALID)
        for path in ("/", "/docs", "/asyncapi.json"):
            assert (await found.ask("GET", path, None)).status_code == 200, path


async def test_scopes_open_their_own_routes() -> None:
    async with keyed() as found:
        reader, figures = found.key("a", Scope.SESSIONS_READ), found.key("a", Scope.METRICS)
        assert (await found.ask("GET", "/v1/sessions", reader)).status_code == 200
        assert await found.code("GET", "/v1/videos", reader) == ErrorCode.SCOPE_MISSING
        assert await found.code("POST", "/v1/pictures", reader, content=b"x") == ErrorCode.SCOPE_MISSING
        assert await found.code("GET", "/metrics", reader) == ErrorCode.SCOPE_MISSING
        assert (await found.ask("GET", "/metrics", figures)).status_code == 200
        assert await found.code("GET", "/v1/sessions", figures) == ErrorCode.SCOPE_MISSING
        async with found.talk(reader) as talk:
            await talk.say(SessionStart(prompt="a"))
            assert (await talk.error()).code == ErrorCode.SCOPE_MISSING
            await talk.say(SessionJoin(session_id="x"))
            assert (await talk.error()).code == ErrorCode.SESSION_UNKNOWN
    async with keyed(KEYED.model_copy(update={"open_metrics": True})) as found:
        assert (await found.ask("GET", "/metrics", None)).status_code == 200


async def _token(found: Keyed, key: str, **body: object) -> str:
    answer = await found.ask("POST", "/v1/tokens", key, json=body)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def test_origins_and_tokens() -> None:
    """Every kind of origin with every kind of credential: who gets a WebSocket."""
    config = KEYED.model_copy(update={"allowed_origins": (FRIEND,)})
    async with keyed(config) as found:
        key = found.key("a")
        own = f"http://{found.service.authority}"
        welcome: dict[tuple[str | None, str], object] = {}
        for origin in (None, own, FRIEND, EVIL, "null"):
            for kind in ("key", "subprotocol", "query", "used", "file", "none"):
                how: dict[str, object] = {"origin": origin}
                if kind == "key":
                    how["key"] = key
                elif kind == "subprotocol":
                    how["token"] = await _token(found, key)
                elif kind == "query":
                    how["query"] = f"?token={await _token(found, key)}"
                elif kind == "used":
                    how["token"] = await _token(found, key)
                    async with found.talk(token=how["token"]):  # type: ignore[arg-type]
                        pass
                elif kind == "file":
                    how["token"] = await _token(found, key, path="/v1/sessions")
                try:
                    async with found.talk(**how) as talk:  # type: ignore[arg-type]
                        assert talk.socket.subprotocol == "longtake.v1"
                    welcome[origin, kind] = 101
                except InvalidStatus as error:
                    welcome[origin, kind] = error.response.status_code
        for (origin, kind), status in welcome.items():
            wanted = 101 if kind in ("key", "subprotocol", "query") else 401
            assert status == (403 if origin in (EVIL, "null") else wanted), (origin, kind)


async def test_a_page_of_another_site_does_not_use_up_a_token() -> None:
    async with keyed() as found:
        token = await _token(found, found.key("a"))
        assert await refused(found, token=token, origin=EVIL) == (403, ErrorCode.ORIGIN_FORBIDDEN)
        async with found.talk(token=token) as talk:
            await talk.say(SessionPing(id="in"))
            assert (await talk.hear()).message == SessionPong(id="in")


async def test_origins_over_rest() -> None:
    config = ServiceConfig.model_validate(KEYED.model_dump() | {"authentication": "off_loopback"})
    async with keyed(config) as found:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/videos"), ("DELETE", "/v1/sessions/x")):
            code = await found.code(method, path, None, headers={"Origin": EVIL})
            assert code == ErrorCode.ORIGIN_FORBIDDEN, path
        own = {"Origin": f"http://{found.service.authority}"}
        assert (await found.ask("GET", "/v1/models", None, headers=own)).status_code == 200
        forwarded = {"X-Forwarded-For": "192.0.2.7"}
        assert (await found.ask("GET", "/v1/models", None, headers=forwarded)).status_code == 403
        named = forwarded | {"Origin": f"http://{found.service.authority}"}
        assert await found.code("GET", "/v1/models", None, headers=named) == ErrorCode.KEY_MISSING
        assert (await found.ask("GET", "/v1/models", found.key("a"), headers=forwarded)).status_code == 200


async def test_a_token_opens_one_file_and_only_for_reading() -> None:
    async with keyed() as found:
        key = found.key("a")
        token = await _token(found, key, path="/v1/sessions")
        for _ in range(2):
            assert (await found.ask("GET", f"/v1/sessions?token={token}", None)).status_code == 200
        assert await found.code("GET", f"/v1/videos?token={token}", None) == ErrorCode.TOKEN_INVALID
        assert await found.code("POST", f"/v1/sessions?token={token}", None) == ErrorCode.KEY_MISSING
        socket = await _token(found, key)
        assert await found.code("GET", f"/v1/sessions?token={socket}", None) == ErrorCode.TOKEN_INVALID
        assert await found.code("GET", f"/v1/sessions?token={key}", None) == ErrorCode.TOKEN_INVALID


async def test_a_token_has_the_keys_scopes_or_fewer() -> None:
    async with keyed() as found:
        key = found.key("a", Scope.SESSIONS)
        token = await _token(found, key, scopes=["sessions:read"])
        async with found.talk(token=token) as talk:
            await talk.say(SessionStart(prompt="a"))
            assert (await talk.error()).code == ErrorCode.SCOPE_MISSING
        assert await found.code("POST", "/v1/tokens", key, json={"scopes": ["videos"]}) == ErrorCode.SCOPE_MISSING
        assert await found.code("POST", "/v1/tokens", key, json={"scopes": ["all"]}) == ErrorCode.FIELD_CHOICE
        for path in ("/livez", "v1/x", "/v1/x?y", "/v1/" + "x" * 600):
            assert await found.code("POST", "/v1/tokens", key, json={"path": path}) == ErrorCode.FIELD_TYPE, path


async def test_a_key_has_so_many_requests_and_sockets_at_once() -> None:
    async with keyed(KEYED.model_copy(update={"max_requests_per_key": 2})) as found:
        key = found.key("a")
        async with found.talk(key), found.talk(key):
            answer = await found.ask("GET", "/v1/models", key)
            assert (answer.status_code, answer.json()["code"]) == (429, ErrorCode.CONNECTIONS_FULL)
            assert answer.headers["Retry-After"] == "5"
            assert await refused(found, key=key) == (429, ErrorCode.CONNECTIONS_FULL)
            assert (await found.ask("GET", "/v1/models", found.key("a"))).status_code == 200
        async with asyncio.timeout(PATIENCE):
            while (await found.ask("GET", "/v1/models", key)).status_code != 200:
                await asyncio.sleep(0.01)


async def test_a_key_has_so_many_sessions() -> None:
    async with keyed() as found:
        key = found.key("a", max_sessions=1)
        async with found.talk(key) as talk, found.talk(key) as other:
            await found.make_session(key, talk)
            await other.say(SessionStart(prompt="one more"))
            error = await other.error()
            assert (error.code, error.fatal, error.retryable) == (ErrorCode.QUOTA_EXCEEDED, True, True)
            assert await other.closed() == CloseCode.POLICY


async def test_a_session_ends_with_the_seconds_of_its_key() -> None:
    async with keyed() as found:
        key = found.key("a", gpu_seconds_per_day=0.01)
        async with found.talk(key) as talk:
            await talk.say(SessionStart(prompt="a", pacing="none"))
            assert (await talk.error()).code == ErrorCode.QUOTA_EXCEEDED
        await settle_accounts(found.service.state.services, found.service.state.connections)
        async with found.talk(key) as talk:
            await talk.say(SessionStart(prompt="a"))
            assert (await talk.error()).code == ErrorCode.QUOTA_EXCEEDED
        answer = await found.ask("POST", "/v1/videos", key, json={"prompt": "a", "seconds": "1"})
        assert (answer.status_code, answer.json()["code"]) == (429, ErrorCode.QUOTA_EXCEEDED)
        assert int(answer.headers["Retry-After"]) <= 86400


async def test_who_is_connected_with_a_revoked_key_is_sent_away() -> None:
    async with keyed(KEYED.model_copy(update={"usage_interval": 0.01})) as found:
        key, state = found.key("a"), found.service.state
        accounts = asyncio.create_task(keep_accounts(state.services, state.connections))
        async with found.talk(key) as talk, found.talk(found.key("a")) as other:
            await found.make_session(key, talk)
            end_key(found.service.store.folder, key)
            error = (await talk.hear_until(ErrorMessage))[-1].message
            assert isinstance(error, ErrorMessage)
            assert error.code == ErrorCode.KEY_INVALID
            assert await talk.closed() == CloseCode.POLICY
            await other.say(SessionStart(prompt="b"))
            assert isinstance((await other.hear_until(VideoStart, ErrorMessage))[-1].message, VideoStart)
        accounts.cancel()
        await asyncio.gather(accounts, return_exceptions=True)
