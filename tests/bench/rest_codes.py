"""Error codes of keys, of requests that are none, and of jobs, each by a client's way to it, over a real server.

It knows the routes and the entrance. Invariant: what is returned was read from a socket; nothing is counted because it
ought to come.
"""

import tempfile
from collections.abc import Iterable

import httpx2

from service.access.principal import Scope
from service.config import ServiceConfig
from service.protocol.client import SessionStart
from tests.service.api.keyed import KEYED, keyed
from tests.service.api.running import FAST, PATIENCE, Running, running
from tests.service.api.test_sockets import answer, say

VIDEO = {"prompt": "a", "seconds": "1"}
UNKNOWN = "0" * 32


async def codes_over_rest() -> set[str]:
    """Codes that were heard."""
    heard: set[str] = set()
    for part in (_keys, _heads, _videos, _batches, _policy):
        heard |= await part()
    return heard


async def _keys() -> set[str]:
    """Who may not."""
    async with keyed(KEYED.model_copy(update={"max_requests_per_key": 1})) as found:
        reader, key = found.key("a", Scope.SESSIONS_READ), found.key("a", max_sessions=0)
        heard = {
            await found.code("GET", "/v1/models", None),
            await found.code("GET", "/v1/models", "ltk_wrong"),
            await found.code("GET", "/v1/videos", reader),
            await found.code("GET", "/v1/sessions?token=x", None),
        }
        async with found.talk(key) as talk:
            heard.add(await found.code("GET", "/v1/models", key))
            await talk.say(SessionStart(prompt="a"))
            heard.add((await talk.error()).code)
    return heard


async def _heads() -> set[str]:
    """Requests that are none, too long or too late."""
    config = FAST.model_copy(update={"max_body_bytes": 1024, "body_timeout": 0.2})
    heard: set[str] = set()
    async with running(config) as service:
        for sent in (
            b"HELLO\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n",
            b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n",
            b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
        ):
            reader, writer = await say(service, sent)
            heard.add((await answer(reader)).code)
            writer.close()
    return heard


async def _asked(
    service: Running, asks: Iterable[tuple[str, str, dict[str, object]]], *, made: dict[str, str] | None = None
) -> set[str]:
    """The codes of these requests; `made` is what stands for names in addresses."""
    heard = set()
    async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
        for method, path, options in asks:
            response = await client.request(method, path.format(**(made or {})), **options)  # type: ignore[arg-type]
            if response.status_code >= 400:
                heard.add(response.json()["code"])
    return heard


async def _videos() -> set[str]:
    """What a job's request can be refused for before it is one, and a job that has nothing to show."""
    config = FAST.model_copy(update={"max_queued_jobs": 1, "max_clip_bytes": 1024, "max_picture_bytes": 1024})
    key = {"Idempotency-Key": "once"}
    clip = {"input_reference": ("a.mp4", b"\0\0\0\x18ftypmp42" + bytes(4096), "video/mp4")}
    async with running(config) as service:
        async with httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client:
            made = (await client.post("/v1/videos", json=VIDEO, headers=key)).json()["id"]
        asks: list[tuple[str, str, dict[str, object]]] = [
            ("POST", "/v1/videos", {"json": VIDEO | {"prompt": "b"}, "headers": key}),
            ("POST", "/v1/videos", {"json": VIDEO}),
            ("POST", "/v1/videos", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
            ("POST", "/v1/videos", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
            ("POST", "/v1/videos", {"data": VIDEO, "files": clip}),
            ("GET", "/v1/videos/{video}/content", {}),
            ("GET", f"/v1/videos/video_{UNKNOWN}", {}),
            ("GET", f"/v1/batches/batch_{UNKNOWN}", {}),
        ]
        urls = ("file:///etc/passwd", "https://127.0.0.1/x.png", "https://[::1", "http://example.org/x.png")
        asks += [("POST", "/v1/videos", {"json": VIDEO | {"input_reference": url}}) for url in urls]
        return await _asked(service, asks, made={"video": made})


async def _batches() -> set[str]:
    async with running() as service:
        lines: dict[str, object] = {"content": b"{}\n", "headers": {"Content-Type": "application/jsonl"}}
        return await _asked(service, [("POST", "/v1/batches", lines)])


async def _policy() -> set[str]:
    """A prompt that the policy does not take."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as words:
        words.write("forbidden\n")
        words.flush()
        settings = FAST.model_dump() | {"content_policy": "words", "policy_words_file": words.name}
        async with running(ServiceConfig.model_validate(settings)) as service:
            return await _asked(service, [("POST", "/v1/videos", {"json": VIDEO | {"prompt": "a forbidden thing"}})])
