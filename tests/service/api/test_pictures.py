"""Pictures on their way to a session: kept, named, bounded in bytes, number and time, and over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
from fastapi import FastAPI

from client.http import Server
from client.pictures import send_picture
from service.access.principal import Principal, Scope
from service.api.pictures import PICTURES_PATH, Pictures, picture_routes
from service.api.problem import add_problem_handlers
from service.config import ServiceConfig
from service.errors import REGISTRY, ErrorCode, SessionError
from service.protocol.client import SessionStart
from service.protocol.server import ChunkMetadata, SessionResumed, VideoStart
from service.uploads.checking import Checked
from service.uploads.kinds import Kind
from tests.models.pictures import noise, png
from tests.service.api.guests import let_in
from tests.service.api.running import PATIENT, Running, running

CONFIG = ServiceConfig(max_picture_bytes=1000, max_pictures=3, picture_seconds=10.0)


@dataclass(slots=True)
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


async def anything(data: bytes, field: str) -> Checked:
    """The bounds of what is kept have nothing to do with what it is."""
    return Checked(Kind.PICTURE, 1, 1)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def refused(pictures: Pictures, *parts: bytes) -> ErrorCode:
    with pytest.raises(SessionError) as caught:
        await pictures.receive(pieces(*parts), "local")
    return caught.value.code


async def test_a_picture_is_kept_whole_until_its_time_is_over() -> None:
    clock = Clock()
    pictures = Pictures(CONFIG, check=anything, clock=clock)
    name = await pictures.receive(pieces(b"one", b"", b"two"), "local")
    other = await pictures.receive(pieces(b"three"), "local")
    assert name != other
    assert pictures.get(name, "local") == pictures.get(name, "local") == b"onetwo"
    clock.now += 9.9
    assert pictures.get(other, "local") == b"three"
    clock.now += 0.1
    for gone in (name, other, "", "never"):
        with pytest.raises(SessionError) as caught:
            pictures.get(gone, "local")
        assert caught.value.code is ErrorCode.PICTURE_UNKNOWN
    assert len(pictures) == 0


async def test_a_picture_is_read_no_further_than_its_limit() -> None:
    pictures = Pictures(CONFIG, check=anything)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield bytes(300)

    with pytest.raises(SessionError) as caught:
        await pictures.receive(endless(), "local")
    assert (caught.value.code, read) == (ErrorCode.PICTURE_TOO_LARGE, 4)
    assert len(await pictures.receive(pieces(bytes(1000)), "local")) > 16
    assert await refused(pictures, bytes(1001)) is ErrorCode.PICTURE_TOO_LARGE
    assert await refused(pictures) is ErrorCode.PICTURE_INVALID
    assert len(pictures) == 1


async def test_pictures_have_a_bound_with_those_on_their_way() -> None:
    clock = Clock()
    pictures = Pictures(CONFIG, check=anything, clock=clock)
    await pictures.receive(pieces(b"kept"), "local")
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"begun"
        await go_on.wait()

    tasks = [asyncio.create_task(pictures.receive(slow(), "local")) for _ in range(2)]
    while len(pictures) < 3:
        await asyncio.sleep(0)
    assert await refused(pictures, b"one too many") is ErrorCode.CAPACITY
    tasks[0].cancel()
    go_on.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert len(pictures) == 2
    await pictures.receive(pieces(b"now there is room"), "local")
    clock.now += 10.0
    await pictures.receive(pieces(b"and again"), "local")
    assert len(pictures) == 1


async def test_a_picture_that_does_not_arrive_is_given_up() -> None:
    pictures = Pictures(ServiceConfig(picture_seconds=0.01))

    async def never() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    with pytest.raises(SessionError, match="did not arrive within"):
        await pictures.receive(never(), "local")
    assert len(pictures) == 0


@dataclass(frozen=True, slots=True)
class Service:
    pictures: Pictures
    client: httpx2.AsyncClient
    app: FastAPI

    async def send(self, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx2.Response:
        return await self.client.post(PICTURES_PATH, content=content, headers=headers)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    pictures, app = Pictures(CONFIG, check=anything), FastAPI()
    add_problem_handlers(app)
    let_in(app)
    app.include_router(picture_routes(pictures, CONFIG))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield Service(pictures, client, app)


def problem(answer: httpx2.Response, code: ErrorCode) -> bool:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return (answer.json()["code"], answer.status_code) == (code, REGISTRY[code].http_status)


async def test_a_picture_comes_over_http(service: Service) -> None:
    answer = await service.send(b"picture")
    assert answer.status_code == 201
    assert answer.json()["expires_seconds"] == 10.0
    assert service.pictures.get(answer.json()["picture_id"], "local") == b"picture"
    answer = await service.send(pieces(b"in ", b"pieces"))
    assert service.pictures.get(answer.json()["picture_id"], "local") == b"in pieces"


async def test_what_is_too_large_is_refused_before_and_while_it_is_read(service: Service) -> None:
    assert problem(await service.send(bytes(1001)), ErrorCode.PICTURE_TOO_LARGE)
    assert problem(await service.send(pieces(bytes(600), bytes(600))), ErrorCode.PICTURE_TOO_LARGE)
    assert problem(await service.send(b""), ErrorCode.PICTURE_INVALID)
    assert len(service.pictures) == 0


async def test_a_picture_is_its_tenants(service: Service) -> None:
    name = (await service.send(b"picture")).json()["picture_id"]
    with pytest.raises(SessionError) as caught:
        service.pictures.get(name, "studio")
    assert caught.value.code is ErrorCode.PICTURE_UNKNOWN
    let_in(service.app, Principal("studio", "k", frozenset({Scope.SESSIONS_READ})))
    assert problem(await service.send(b"picture"), ErrorCode.SCOPE_MISSING)


async def test_too_many_are_refused_for_a_while(service: Service) -> None:
    for _ in range(3):
        assert (await service.send(b"picture")).status_code == 201
    answer = await service.send(b"picture")
    assert problem(answer, ErrorCode.CAPACITY)
    assert "Retry-After" in answer.headers


async def test_every_answer_is_described(service: Service) -> None:
    described = service.app.openapi()["paths"][PICTURES_PATH]["post"]
    assert set(described["responses"]) >= {"201", "403", "413", "422", "503"}
    assert set(described["requestBody"]["content"]) == {"image/png", "image/jpeg", "image/webp"}


PICTURE = png(noise(30, 20))
START = SessionStart(prompt="a lighthouse", seed=5, pacing="none")


def picture_of(service: Running, session: str) -> bytes | None:
    return service.worker.worker.sessions[session].start.picture


async def test_a_session_starts_from_a_picture() -> None:
    async with running() as service, service.connection() as talk:
        name = await send_picture(Server(service.url), PICTURE)
        await talk.say(START.model_copy(update={"picture_id": name}))
        video = (await talk.hear_until(VideoStart))[-1].message
        assert isinstance(video, VideoStart)
        assert picture_of(service, video.session_id) == PICTURE


async def test_a_picture_that_is_not_there_refuses_the_start_and_no_more() -> None:
    async with running() as service, service.connection() as talk:
        await talk.say(START.model_copy(update={"picture_id": "never"}))
        error = await talk.error()
        assert (error.code, error.fatal) == (ErrorCode.PICTURE_UNKNOWN, False)
        await talk.say(START)
        video = (await talk.hear_until(VideoStart))[-1].message
        assert isinstance(video, VideoStart)
        assert picture_of(service, video.session_id) is None


async def test_another_worker_is_not_sent_what_has_become_of_the_picture() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        name = await send_picture(Server(service.url), PICTURE)
        await talk.say(START.model_copy(update={"picture_id": name}))
        heard = await talk.hear_until(ChunkMetadata)
        session = next(item.message.session_id for item in heard if isinstance(item.message, VideoStart))
        service.kill_worker()
        await service.new_worker()
        await talk.hear_until(SessionResumed)
        start = service.worker.worker.sessions[session].start
        assert start.course is not None
        assert start.picture is None
