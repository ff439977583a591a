"""Hostile files and URLs over REST, with the real judge of files: each a clear 4xx, by whatever way it comes.

What a file or an address is, in every dress, is in tests/service/uploads and tests/service/outbound.
"""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from service.access.principal import LOCAL
from service.api.gate import principal_of
from service.api.pictures import PICTURES_PATH, Pictures, picture_routes
from service.api.problem import add_problem_handlers
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.uploads.checking import FileCheck
from tests.service.api.videos.desk import Rest, assert_problem, rest
from tests.service.outbound.servers import Names, listening, moved, ok, saying, way_out
from tests.service.uploads import hostile

FILES = (
    (hostile.SVG, ErrorCode.PICTURE_INVALID),
    (hostile.gif(10_000), ErrorCode.PICTURE_INVALID),
    (hostile.HTML, ErrorCode.PICTURE_INVALID),
    (hostile.PLAYLIST, ErrorCode.PICTURE_INVALID),
    (hostile.picture("JPEG")[:400], ErrorCode.PICTURE_INVALID),
    (hostile.png_bomb(50_000, 50_000), ErrorCode.PICTURE_TOO_LARGE),
)
NAMES = ("../../../etc/passwd", "/etc/passwd", "a\\..\\b.png", "a" * 300, "x.svg", "")


@pytest.fixture(name="service")
async def _service(tmp_path: Path) -> AsyncIterator[Rest]:
    async with rest(tmp_path, check=FileCheck(), outbound=way_out()) as service:
        yield service


async def test_files_in_forms_and_data_urls(service: Rest) -> None:
    for (data, code), name in zip(FILES, NAMES, strict=True):
        files = {"input_reference": (name or "blob", data, "image/png")}
        answer = await service.client.post("/v1/videos", data={"prompt": "a"}, files=files)
        assert_problem(answer, code, "input_reference")
    for data, code in FILES[2:5]:
        url = "data:image/png;base64," + base64.b64encode(data).decode()
        answer = await service.client.post("/v1/videos", json={"prompt": "a", "input_reference": {"image_url": url}})
        assert_problem(answer, code, "input_reference.image_url")
    assert service.jobs.jobs == {}


async def test_a_whole_picture_by_each_way_is_taken(service: Rest) -> None:
    picture = hostile.picture("PNG")
    async with listening(saying(ok(picture))) as server:
        for reference in (
            f"http://pictures.example:{server.port}/a",
            "data:image/png;base64," + base64.b64encode(picture).decode(),
        ):
            video = await service.make(input_reference=reference)
            assert service.jobs.openings[video["id"]] == picture
    files = {"input_reference": ("../a.png", picture, "text/plain")}
    answer = await service.client.post("/v1/videos", data={"prompt": "a"}, files=files)
    assert service.jobs.openings[answer.json()["id"]] == picture


async def test_urls(service: Rest) -> None:
    async def asked(url: str, code: ErrorCode) -> None:
        for fields in ({"input_reference": {"image_url": url}}, {"input_reference": url}):
            answer = await service.client.post("/v1/videos", json={"prompt": "a"} | fields)
            assert_problem(answer, code, "input_reference.image_url")

    for url in ("file:///etc/passwd", "/etc/passwd", "gopher://pictures.example/", "http://u:p@pictures.example/"):
        await asked(url, ErrorCode.URL_INVALID)
    for url in ("http://127.0.0.2/", "http://[::1]/", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/"):
        await asked(url, ErrorCode.URL_FORBIDDEN)
    async with listening(saying(ok(b"secret")), "127.0.0.2") as inside:
        async with listening(saying(moved(f"http://127.0.0.2:{inside.port}/"))) as server:
            await asked(f"http://pictures.example:{server.port}/", ErrorCode.URL_FORBIDDEN)
        assert inside.asked == []
    async with listening(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")) as server:
        await asked(f"http://pictures.example:{server.port}/", ErrorCode.URL_TOO_LARGE)
    async with listening(saying(ok(hostile.SVG))) as server:
        await asked(f"http://pictures.example:{server.port}/", ErrorCode.PICTURE_INVALID)
    assert service.jobs.jobs == {}


async def test_webhooks_lead_outside_when_they_are_asked_for(tmp_path: Path) -> None:
    names = Names({"inside.example": ["10.0.0.1"], "both.example": ["127.0.0.1 10.0.0.1"]})
    async with rest(tmp_path, outbound=way_out(names)) as service:
        for url, code in (
            ("http://inside.example/", ErrorCode.URL_FORBIDDEN),
            ("http://both.example/", ErrorCode.URL_FORBIDDEN),
            ("http://nowhere.example/", ErrorCode.URL_FAILED),
            ("file:///etc/passwd", ErrorCode.URL_INVALID),
        ):
            answer = await service.client.post("/v1/videos", json={"prompt": "a", "webhook_url": url})
            assert_problem(answer, code, "webhook_url")


async def test_pictures_for_live_sessions_are_judged_when_they_come() -> None:
    config, app = ServiceConfig(), FastAPI()
    pictures = Pictures(config)
    add_problem_handlers(app)
    app.include_router(picture_routes(pictures, config))
    app.dependency_overrides[principal_of] = lambda: LOCAL
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for data, code in FILES:
            assert_problem(await client.post(PICTURES_PATH, content=data), code)
        assert len(pictures) == 0
        answer = await client.post(PICTURES_PATH, content=hostile.picture("WEBP"))
        assert (answer.status_code, len(pictures)) == (201, 1)
