"""Webhooks: written with the end of a job, sent until taken, signed; with a receiver and a clock of the test."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.access.principal import LOCAL
from service.api.videos.webhooks import Webhooks
from service.api.videos.wiring import VideoParts
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.hooks import PromptHooks
from service.jobs.values import Job, JobRequest, JobStatus, TimedPrompt, WeightedText
from service.outbound.fetching import Outbound
from service.outbound.signing import verify
from service.store.failures import StoreFailed
from service.store.store import SessionStore
from service.store.webhooks import WebhookBook, WebhookRow
from tests.service.api.videos.desk import OTHER, anything, assert_problem, rest
from tests.service.outbound.servers import Listener, Names, listening, ok, saying, way_out

GUARD = 120.0
CONFIG = ServiceConfig(webhook_attempts=4, webhook_delay=5.0, webhook_delay_max=100.0, webhook_keep_hours=1.0)


@dataclass(slots=True)
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Desk:
    """Webhooks over a store of its own."""

    store: SessionStore
    webhooks: Webhooks
    clock: Clock
    counted: list[str]
    """How tries ended."""

    async def end(self, url: str | None, status: JobStatus = JobStatus.COMPLETED, *, job: str = "video_1") -> None:
        """A job ends, as the queue has it: in one transaction with its webhook."""
        timeline = (TimedPrompt(at=0.0, prompts=(WeightedText("a red ball"),)),)
        request = JobRequest(timeline=timeline, seconds=4.0, model="demo", seed=1, webhook_url=url)
        ended = Job(id=job, tenant="local", status=status, request=request, created_at=self.clock())
        await self.store.write(lambda connection: self.webhooks.on_terminal(connection, ended))

    async def rows(self) -> tuple[WebhookRow, ...]:
        return await self.webhooks.book.of_tenant("local", after=None, limit=100)

    async def row(self) -> WebhookRow:
        (found,) = await self.rows()
        return found


@asynccontextmanager
async def desk(folder: Path, outbound: Outbound | None = None) -> AsyncIterator[Desk]:
    store, clock, counted = SessionStore(folder), Clock(), list[str]()
    parts = VideoParts(
        config=CONFIG, hooks=PromptHooks(), outbound=outbound or way_out(), check=anything, facts=lambda: None
    )
    webhooks = dataclasses.replace(parts.webhooks(WebhookBook(store.write, store.read), counted.append), clock=clock)
    try:
        async with asyncio.timeout(GUARD):
            yield Desk(store, webhooks, clock, counted)
    finally:
        store.close()


def url_of(server: Listener) -> str:
    return f"http://pictures.example:{server.port}/hook"


def taken(server: Listener, number: int = -1) -> tuple[dict[str, str], bytes]:
    """Headers, names in lower case, and body of one that came."""
    head, _, body = server.asked[number].partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    return {name.lower(): value for name, value in lines}, body


async def test_a_job_that_ends_is_told_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, listening(saying(ok(b""))) as server:
        await at.end(None)
        assert await at.webhooks.round() == 0
        await at.end(url_of(server))
        assert await at.webhooks.round() == 1
        assert await at.webhooks.round() == 0
        headers, body = taken(server)
        said = json.loads(body)
        assert (said["type"], said["id"], said["data"]["id"]) == ("video.completed", headers["webhook-id"], "video_1")
        assert (said["data"]["object"], said["data"]["status"]) == ("video", "completed")
        (secret,) = await at.webhooks.secrets("local")
        assert verify(headers, body, secret=secret, now=at.clock())
        assert headers["content-type"] == "application/json"
        row = await at.row()
        assert (row.outcome, row.attempts, row.next_at, row.finished_at) == ("delivered", 1, None, at.clock())
        assert at.counted == ["delivered"]


async def test_it_is_tried_again_with_growing_pauses_and_then_given_up(tmp_path: Path) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    async with desk(tmp_path) as at, listening(saying(busy)) as server:
        await at.end(url_of(server), JobStatus.FAILED)
        begun, pauses = at.clock(), []
        for attempt in range(1, CONFIG.webhook_attempts):
            assert await at.webhooks.round() == 1
            row = await at.row()
            assert (row.attempts, row.trouble, row.outcome) == (attempt, "status 503", None)
            assert row.next_at is not None
            pauses.append(row.next_at - at.clock())
            at.clock.now = row.next_at - 0.5
            assert await at.webhooks.round() == 0
            at.clock.now = row.next_at
        assert await at.webhooks.round() == 1
        assert pauses == [5.0, 30.0, 100.0]
        row = await at.row()
        assert (row.attempts, row.outcome, row.next_at) == (4, "given_up", None)
        assert len({taken(server, number)[0]["webhook-id"] for number in range(4)}) == 1
        times = [int(taken(server, number)[0]["webhook-timestamp"]) - int(begun) for number in range(4)]
        assert times == [0, 5, 35, 135]
        assert at.counted == ["again", "again", "again", "given_up"]
        at.clock.now += 1e6
        assert await at.webhooks.round() == 0


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "delivered"),
        (b"HTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n", "delivered"),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", "given_up"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", None),
        (b"nonsense", None),
        (b"", None),
    ],
)
async def test_what_counts_as_taken(tmp_path: Path, answer: bytes, outcome: str | None) -> None:
    async with desk(tmp_path) as at, listening(saying(answer)) as server:
        await at.end(url_of(server))
        await at.webhooks.round()
        assert (await at.row()).outcome == outcome


async def test_a_name_that_leads_inside_later_is_not_sent_to(tmp_path: Path) -> None:
    names = Names({"pictures.example": ["127.0.0.2"]})
    async with desk(tmp_path, way_out(names)) as at, listening(saying(ok(b"")), "127.0.0.2") as inside:
        await at.end(url_of(inside))
        await at.webhooks.round()
        row = await at.row()
        assert (row.outcome, inside.asked) == (None, [])
        assert row.trouble is not None
        assert row.trouble.startswith(ErrorCode.URL_FORBIDDEN)


async def test_a_try_that_kills_the_process_counts(tmp_path: Path) -> None:
    """The count is written before anything is sent; whoever comes next waits until it may be over."""
    async with desk(tmp_path) as at:
        await at.end("http://pictures.example:9/")
        row = await at.row()
        until = at.clock() + 2 * CONFIG.outbound_timeout
        assert await at.webhooks.book.claim(row, until=until)
        assert not await at.webhooks.book.claim(row, until=until)
        assert await at.webhooks.round() == 0
        at.clock.now = until
        assert await at.webhooks.round() == 1
        assert (await at.row()).attempts == 2


async def test_webhooks_are_there_after_a_restart(tmp_path: Path) -> None:
    async with listening(saying(ok(b""))) as server:
        async with desk(tmp_path) as at:
            await at.end(url_of(server))
        async with desk(tmp_path) as at:
            assert await at.webhooks.round() == 1
            assert (await at.row()).outcome == "delivered"


async def test_a_new_secret_and_the_one_before_sign_for_a_while(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, listening(saying(ok(b""))) as server:
        (old,) = await at.webhooks.secrets("local")
        new = await at.webhooks.rotate("local")
        assert await at.webhooks.secrets("local") == (new, old)
        assert await at.webhooks.secrets("other") != (new, old)
        await at.end(url_of(server))
        await at.webhooks.round()
        headers, body = taken(server)
        assert [verify(headers, body, secret=secret, now=at.clock()) for secret in (new, old)] == [True, True]
        at.clock.now += 3601
        await at.webhooks.round()
        assert await at.webhooks.secrets("local") == (new,)
        assert await at.rows() == ()


async def test_the_sender_wakes_for_what_is_new_and_for_what_is_due(tmp_path: Path) -> None:
    came = asyncio.Semaphore(0)

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b""))
        came.release()

    async with desk(tmp_path) as at, listening(answer) as server:
        sending = asyncio.create_task(at.webhooks.run())
        for number in range(3):
            await at.end(url_of(server), job=f"video_{number}")
            at.webhooks.wake()
            await came.acquire()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert sorted(json.loads(taken(server, n)[1])["data"]["id"] for n in range(3)) == [
            "video_0",
            "video_1",
            "video_2",
        ]


async def test_one_that_is_slow_keeps_no_other(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def slow(head: bytes, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(ok(b""))

    async with desk(tmp_path) as at, listening(slow) as first, listening(saying(ok(b""))) as second:
        await at.end(url_of(first), job="video_slow")
        await at.end(url_of(second), job="video_fast")
        sending = asyncio.create_task(at.webhooks.round())
        while not any(row.outcome for row in await at.rows()):
            await asyncio.sleep(0.01)
        assert {row.job: row.outcome for row in await at.rows()} == {"video_slow": None, "video_fast": "delivered"}
        go.set()
        assert await sending == 2


async def test_over_rest_a_tenant_sees_its_own(tmp_path: Path) -> None:
    async with desk(tmp_path / "store") as at, rest(tmp_path, webhooks=lambda parts: at.webhooks) as service:
        first = (await service.client.get("/v1/webhooks/secret")).json()
        assert first["secret"].startswith("whsec_")
        assert (await service.client.get("/v1/webhooks/secret")).json() == first
        rotated = (await service.client.post("/v1/webhooks/secret/rotate")).json()
        assert rotated["secret"] != first["secret"]
        for number in range(3):
            at.clock.now += 1
            await at.end("http://pictures.example:9/", job=f"video_{number}")
        page = (await service.client.get("/v1/webhooks", params={"limit": 2})).json()
        assert [item["video_id"] for item in page["data"]] == ["video_2", "video_1"]
        following = await service.client.get("/v1/webhooks", params={"limit": 2, "after": page["last_id"]})
        assert [item["video_id"] for item in following.json()["data"]] == ["video_0"]
        assert (page["has_more"], following.json()["has_more"]) == (True, False)
        service.principal = OTHER
        assert (await service.client.get("/v1/webhooks")).json()["data"] == []
        assert (await service.client.get("/v1/webhooks/secret")).json()["secret"] not in (
            first["secret"],
            rotated["secret"],
        )
        service.principal = dataclasses.replace(LOCAL, scopes=frozenset())
        assert_problem(await service.client.get("/v1/webhooks"), ErrorCode.SCOPE_MISSING)


async def test_a_store_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.videos.webhooks._AFTER_TROUBLE", 0.01)
    async with desk(tmp_path) as at, listening(saying(ok(b""))) as server:
        await at.end(url_of(server))
        failures = 2

        async def failing(work: Callable[..., object]) -> object:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StoreFailed("the disk is away")
            return await at.store.read(work)

        at.webhooks.book._read = failing  # type: ignore[assignment]
        sending = asyncio.create_task(at.webhooks.run())
        while not server.asked:
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
