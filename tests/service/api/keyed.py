"""A real server that asks for keys, and what two tenants have there.

It knows the app and the keys. Invariant: what one tenant is given was made by itself, over the wire.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from websockets.asyncio.client import connect
from websockets.typing import Origin, Subprotocol

from service.access.keys import KeyWish
from service.access.principal import Scope
from service.config import ServiceConfig
from service.protocol import SUBPROTOCOL
from service.protocol.client import SessionStart
from service.protocol.server import ChunkMetadata, VideoStart
from tests.service.access.desks import make_key
from tests.service.api.running import FAST, PATIENCE, Running, Talk, running

KEYED = FAST.model_copy(update={"authentication": "always", "resume_grace": 600.0, "max_sessions": 64})


@dataclass(slots=True)
class Keyed:
    service: Running
    client: httpx2.AsyncClient
    objects: dict[str, str] = field(default_factory=dict)
    """Of the first tenant, by the names that addresses have for them."""

    def key(self, tenant: str, *scopes: Scope, **limits: int | float) -> str:
        wish = KeyWish(tenant=tenant, scopes=frozenset(scopes or (Scope.ADMIN,)), **limits)  # type: ignore[arg-type]
        return make_key(self.service.store.folder, wish, now=0.0)

    async def ask(self, method: str, path: str, key: str | None, **options: object) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        headers |= options.pop("headers", {})  # type: ignore[call-overload]
        return await self.client.request(method, path, headers=headers, **options)  # type: ignore[arg-type]

    async def code(self, method: str, path: str, key: str | None, **options: object) -> str:
        answer = await self.ask(method, path, key, **options)
        assert answer.headers["Content-Type"] == "application/problem+json", (method, path, answer.status_code)
        code: str = answer.json()["code"]
        return code

    @asynccontextmanager
    async def talk(
        self, key: str | None = None, *, token: str = "", origin: str | None = None, query: str = ""
    ) -> AsyncIterator[Talk]:
        offered = [Subprotocol(SUBPROTOCOL), *([Subprotocol(f"longtake.token.{token}")] if token else [])]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with connect(
            self.service.url + query,
            subprotocols=offered,
            additional_headers=headers,
            origin=Origin(origin) if origin else None,
        ) as socket:
            yield Talk(socket)

    async def make_objects(self, key: str) -> None:
        """One of each kind of object."""
        video = await self.ask("POST", "/v1/videos", key, json={"prompt": "a", "seconds": "1"})
        assert video.status_code == 200, video.text
        lines = '{"prompt": "b", "seconds": "1"}\n'
        content = {"Content-Type": "application/jsonl"}
        batch = await self.ask("POST", "/v1/batches", key, content=lines, headers=content)
        assert batch.status_code < 300, batch.text
        self.objects = {"video": video.json()["id"], "batch": batch.json()["id"]}

    async def make_session(self, key: str, talk: Talk) -> VideoStart:
        await talk.say(SessionStart(prompt="a", pacing="none"))
        started = (await talk.hear_until(VideoStart))[-1].message
        assert isinstance(started, VideoStart)
        await talk.hear_until(ChunkMetadata)
        assert (await self.ask("GET", f"/v1/sessions/{started.session_id}", key)).status_code == 200
        return started


@asynccontextmanager
async def keyed(config: ServiceConfig = KEYED) -> AsyncIterator[Keyed]:
    async with (
        running(config) as service,
        httpx2.AsyncClient(base_url=f"http://{service.authority}", timeout=PATIENCE) as client,
    ):
        yield Keyed(service, client)


def filled(path: str, objects: dict[str, str]) -> str:
    """An address with the names of objects in their places."""
    return re.sub(r"\{(\w+)\}", lambda match: objects[match[1]], path)
