"""Videos over the real routes: made, followed, waited for, fetched, remixed, listed and deleted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from client.errors import ProtocolViolation, RequestRefused, VideoFailed, WaitTimeout
from client.http import Server
from client.library import Client
from client.requests import Adapter, Model, PromptChange
from client.take import blend_of
from client.video_values import VideoOptions, video_of
from client.videos import Videos
from service.errors import ErrorCode
from service.jobs.values import AdapterScale, JobFailure, JobStatus, TimedPrompt, WeightedText
from tests.client.serving import answering, serving
from tests.service.api.videos.desk import rest
from tests.service.api.videos.memory_jobs import MemoryJobs


@dataclass(frozen=True, slots=True)
class Shop:
    jobs: MemoryJobs
    videos: Videos


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with rest(tmp_path) as service, serving(service.app) as url:
        yield Shop(service.jobs, Client(url).videos)


async def test_everything_that_can_be_asked_comes_to_the_job(shop: Shop) -> None:
    video = await shop.videos.create(
        "a red ball",
        seconds=8.5,
        changes=[PromptChange(blend_of({"snow": 2.0, "rain": 1.0}), at=4.0, mode="cut")],
        options=VideoOptions(
            model=Model("demo", [Adapter("ink", 0.5)]),
            seed=7,
            size=(96, 64),
            picture=b"a picture",
            steps=3,
            priority=2,
            metadata={"a": "b"},
        ),
    )
    request = shop.jobs.jobs[video.id].request
    assert (video.status, video.progress, video.seconds, video.size, video.seed) == ("queued", 0, 8.5, "96x64", 7)
    assert request.timeline[0] == TimedPrompt(at=0.0, prompts=(WeightedText("a red ball"),))
    assert request.timeline[1].prompts == (WeightedText("snow", 2.0), WeightedText("rain", 1.0))
    assert (request.timeline[1].at, request.timeline[1].mode) == (4.0, "cut")
    assert (request.steps, request.priority, dict(request.metadata)) == (3, 2, {"a": "b"})
    assert request.adapters == (AdapterScale("ink", 0.5),)
    assert shop.jobs.openings[video.id] == b"a picture"


async def test_a_video_is_waited_for_and_fetched(shop: Shop, tmp_path: Path) -> None:
    async def runner() -> None:
        while "video_1" not in shop.jobs.jobs or not shop.jobs.watched:
            await asyncio.sleep(0.01)
        await shop.jobs.advance("video_1", 24)
        await shop.jobs.finish("video_1", b"the film")

    running = asyncio.create_task(runner())
    video = await shop.videos.create_and_wait("a red ball", seconds=3.0, timeout=60.0)
    await running
    assert (video.status, video.over, video.frames) == ("completed", True, 48)
    out = await shop.videos.download(video.id, out=tmp_path / "out.mp4")
    assert out.read_bytes() == b"the film"
    still = await shop.videos.download(video.id, out=tmp_path / "out.jpg", variant="thumbnail")
    assert still.read_bytes() == b"picture"
    assert not list(tmp_path.glob(".*"))


async def test_what_becomes_of_a_video_is_told_in_order(shop: Shop) -> None:
    video = await shop.videos.create("a red ball")
    told = []
    async for now in shop.videos.follow(video.id):
        told.append(now.status)
        if now.status == "queued":
            await shop.jobs.advance(video.id, 12)
        elif now.status == "in_progress":
            await shop.jobs.finish(video.id)
    assert told == ["queued", "in_progress", "completed"]


async def test_a_video_that_fails_or_is_cancelled_is_an_error_with_its_code(shop: Shop) -> None:
    failing, cancelled = [await shop.videos.create("a red ball") for _ in range(2)]
    await shop.jobs.change(failing.id, status=JobStatus.FAILED, failure=JobFailure(ErrorCode.WORKER_DIED, "It died."))
    with pytest.raises(VideoFailed, match="worker_died") as caught:
        await shop.videos.wait(failing.id)
    assert (caught.value.code, caught.value.video) == ("worker_died", failing.id)
    await shop.videos.cancel(cancelled.id)
    with pytest.raises(VideoFailed, match="cancelled"):
        await shop.videos.wait(cancelled.id, progress=False)


async def test_waiting_has_an_end(shop: Shop) -> None:
    video = await shop.videos.create("a red ball")
    with pytest.raises(WaitTimeout, match=r"within 0\.01 s"):
        await shop.videos.wait(video.id, timeout=0.01, progress=False)
    assert (await shop.videos.get(video.id)).status == "queued"


async def test_lists_go_over_pages_and_what_is_deleted_is_gone(shop: Shop) -> None:
    made = [(await shop.videos.create("a red ball")).id for _ in range(5)]
    assert [video.id for video in await shop.videos.list()] == made[::-1]
    assert [video.id for video in await shop.videos.list(most=2, newest_first=False)] == made[:2]
    await shop.videos.delete(made[0])
    with pytest.raises(RequestRefused) as caught:
        await shop.videos.get(made[0])
    assert caught.value.code == "video_unknown"


async def test_a_remix_has_another_prompt(shop: Shop) -> None:
    video = await shop.videos.create("a red ball", options=VideoOptions(seed=9))
    for prompt, texts in (("snow", ["snow"]), (blend_of({"snow": 1.0, "rain": 2.0}), ["snow", "rain"])):
        other = await shop.videos.remix(video.id, prompt)
        request = shop.jobs.jobs[other.id].request
        assert [part.text for part in request.timeline[0].prompts] == texts
        assert request.seed == 9


async def test_a_refusal_names_the_field(shop: Shop) -> None:
    with pytest.raises(RequestRefused) as caught:
        await shop.videos.create("a red ball", seconds=1e6)
    assert (caught.value.code, caught.value.field) == ("length_limit", "seconds")


async def test_what_is_asked_again_after_a_lost_answer_is_one_video(shop: Shop) -> None:
    options = VideoOptions(idempotency_key="once")
    first, second = [await shop.videos.create("a red ball", options=options) for _ in range(2)]
    assert first.id == second.id
    assert len(shop.jobs.jobs) == 1


async def test_a_busy_server_is_asked_again_with_the_same_key() -> None:
    keys: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        keys.append(request.headers["Idempotency-Key"])
        assert request.headers["Authorization"] == "Bearer secret"
        busy = b'{"code": "capacity", "detail": "full", "retryable": true}'
        video = (
            b'{"id": "v", "status": "queued", "progress": 0, "model": "demo", "seconds": "4", "size": "96x96",'
            b' "created_at": 1}'
        )
        request.send_response(503 if len(keys) < 3 else 200)
        body = busy if len(keys) < 3 else video
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as url:
        videos = Videos(Server(url, "secret"), retry_pause=0.01)
        assert (await videos.create("a red ball")).id == "v"
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"id": 3}', b"\xff"])
def test_an_answer_that_is_no_video_is_a_violation(text: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="expected a video"):
        video_of(text)
