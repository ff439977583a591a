"""What a list of takes shows: stills, also of forks, and prompts at the seconds at which they took effect."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request

from service.api.problem import add_problem_handlers
from service.api.takes_routes import takes_routes
from service.errors import ErrorCode, SessionError
from service.latent_files import thumbnail_path
from service.store.history import CoursePoint
from service.store.store import SessionStore
from tests.service.store.values import add, fill, prompt, row, take


@dataclass(slots=True)
class Service:
    store: SessionStore
    client: httpx2.AsyncClient

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(f"/v1/sessions/{path}")


async def check(request: Request) -> None:
    """Stands for the check of the WebSocket."""
    if request.headers.get("origin") == "https://evil.example":
        raise SessionError(ErrorCode.ORIGIN_FORBIDDEN, "no")


@pytest.fixture(name="service")
async def _service(tmp_path: Path) -> AsyncIterator[Service]:
    store = SessionStore(tmp_path / "store")
    app = FastAPI()
    add_problem_handlers(app)
    app.include_router(takes_routes(store, check))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield Service(store, client)
    store.close()


def put_still(store: SessionStore, session: str, content: bytes) -> None:
    path = thumbnail_path(store.folder, session)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def test_prompts_stand_at_the_seconds_of_their_blocks(service: Service) -> None:
    await fill(service.store, "a", 3)
    await add(service.store, "a", row(3), events=(prompt(3, "b"),))
    found = (await service.get("a/timeline")).json()
    assert (found["size"], found["seconds"], found["fps"], found["seed"]) == ("96x64", 3.0, 16.0, 2**63 - 1)
    assert [(one["at"], one["prompts"], one["mode"], one["transition"]) for one in found["prompts"]] == [
        (0.0, [{"text": "a", "weight": 1.0}], "recache", 0),
        (2.25, [{"text": "b", "weight": 1.0}], "recache", 0),
    ]


async def test_what_a_rewind_took_back_is_not_in_it(service: Service) -> None:
    await fill(service.store, "a", 3)
    await add(service.store, "a", row(3), events=(prompt(3, "b"),))
    await add(service.store, "a", row(4, 1, take=1), events=(take(1, 1),))
    found = (await service.get("a/timeline")).json()
    assert (found["seconds"], [one["prompts"][0]["text"] for one in found["prompts"]]) == (1.5, ["a"])


async def test_a_still_is_the_sessions_own_or_its_parents(service: Service) -> None:
    await fill(service.store, "a", 3)
    assert (await service.get("a/thumbnail")).json()["code"] == ErrorCode.NOT_FOUND
    put_still(service.store, "a", b"still of a")
    await service.store.fork("a", "b", point=CoursePoint(block=2))
    await service.store.fork("b", "c")
    answers = [await service.get(f"{name}/thumbnail") for name in "abc"]
    assert [answer.content for answer in answers] == [b"still of a"] * 3
    assert answers[0].headers["Content-Type"] == "image/jpeg"
    put_still(service.store, "b", b"still of b")
    assert [(await service.get(f"{name}/thumbnail")).content for name in "bc"] == [b"still of b"] * 2


@pytest.mark.parametrize("what", ["timeline", "thumbnail"])
async def test_what_is_unknown_or_asked_from_elsewhere_is_refused(service: Service, what: str) -> None:
    assert (await service.get(f"nobody/{what}")).json()["code"] == ErrorCode.SESSION_UNKNOWN
    evil = await service.client.get(f"/v1/sessions/a/{what}", headers={"Origin": "https://evil.example"})
    assert evil.status_code == 403
