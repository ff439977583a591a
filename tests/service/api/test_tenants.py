"""Tenants x verbs x objects: what is another's is answered as what never was, over REST and over the WebSocket."""

import json

import pytest

from service.errors import ErrorCode
from service.protocol.client import SessionJoin, SessionResume, SessionStart
from service.protocol.server import ErrorMessage, VideoStart
from tests.service.api.keyed import Keyed, filled, keyed

BODIES = {
    "/v1/sessions/{session}/fork": {},
    "/v1/videos/{video}/remix": {"prompt": "mine now"},
}
NOBODYS = {"session": "0" * 32, "video": "video_" + "0" * 32, "batch": "batch_" + "0" * 32}


async def _paths(found: Keyed, key: str) -> list[tuple[str, str]]:
    """Every verb of every address that names an object."""
    document = (await found.ask("GET", "/openapi.json", key)).json()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods if "{" in path]


async def test_no_object_of_another_tenant_is_there(caplog: pytest.LogCaptureFixture) -> None:
    async with keyed() as found:
        mine, theirs = found.key("studio"), found.key("rival")
        await found.make_objects(mine)
        async with found.talk(mine) as talk:
            started = await found.make_session(mine, talk)
            found.objects["session"] = started.session_id
            paths = await _paths(found, mine)
            assert {name for _, path in paths for name in NOBODYS if f"{{{name}}}" in path} == set(NOBODYS)
            for method, path in paths:
                body = {"json": BODIES[path]} if path in BODIES else {}
                foreign = await found.ask(method, filled(path, found.objects), theirs, **body)
                nobodys = await found.ask(method, filled(path, NOBODYS), theirs, **body)
                assert foreign.status_code == nobodys.status_code == 404, (method, path, foreign.text)
                if method != "HEAD":
                    assert foreign.json()["code"] == nobodys.json()["code"], (method, path)
                    names = [(found.objects[name], NOBODYS[name]) for name in NOBODYS if f"{{{name}}}" in path]
                    said = foreign.text
                    for own, other in names:
                        said = said.replace(own, other)
                    assert said == nobodys.text, (method, path)
        own = json.loads((await found.ask("GET", filled("/v1/videos/{video}", found.objects), mine)).text)
        assert own["id"] == found.objects["video"]
    assert "Traceback" not in caplog.text


async def test_lists_are_of_ones_own() -> None:
    async with keyed() as found:
        mine, theirs = found.key("studio"), found.key("rival")
        await found.make_objects(mine)
        async with found.talk(mine) as talk:
            await found.make_session(mine, talk)
        for path in ("/v1/sessions", "/v1/videos", "/v1/batches", "/v1/webhooks"):
            assert (await found.ask("GET", path, theirs)).json()["data"] == [], path
        for path in ("/v1/sessions", "/v1/videos", "/v1/batches"):
            assert (await found.ask("GET", path, mine)).json()["data"], path


async def test_two_keys_of_a_tenant_see_the_same() -> None:
    async with keyed() as found:
        one, other = found.key("studio"), found.key("studio")
        await found.make_objects(one)
        assert (await found.ask("GET", filled("/v1/videos/{video}", found.objects), other)).status_code == 200


async def test_a_session_of_another_tenant_cannot_be_watched_or_taken() -> None:
    async with keyed() as found:
        mine, theirs = found.key("studio"), found.key("rival")
        async with found.talk(mine) as talk:
            started = await found.make_session(mine, talk)
            assert started.resume_token is not None
            for message in (
                SessionJoin(session_id=started.session_id),
                SessionResume(session_id=started.session_id, resume_token=started.resume_token),
            ):
                async with found.talk(theirs) as other:
                    await other.say(message)
                    assert (await other.error()).code == ErrorCode.SESSION_UNKNOWN
                    await other.say(SessionStart(prompt="mine"))
                    assert isinstance((await other.hear_until(VideoStart, ErrorMessage))[-1].message, VideoStart)
            async with found.talk(found.key("studio")) as viewer:
                await viewer.say(SessionJoin(session_id=started.session_id))
                assert isinstance((await viewer.hear_until(VideoStart, ErrorMessage))[-1].message, VideoStart)


async def test_secrets_of_webhooks_are_of_ones_own() -> None:
    async with keyed() as found:
        secrets = [(await found.ask("GET", "/v1/webhooks/secret", found.key(name))).text for name in ("a", "b", "a")]
        assert secrets[0] != secrets[1]
        assert secrets[0] == secrets[2]
