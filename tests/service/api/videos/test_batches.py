"""Batches: a file of requests becomes jobs, all of them or none; one status, results as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.api.videos.desk import KEY_HEADER
from service.config import ServiceConfig
from service.errors import ErrorCode
from tests.service.api.videos.desk import OTHER, Rest, assert_problem, rest

JSONL = {"Content-Type": "application/jsonl"}


@pytest.fixture(name="service")
async def _service(tmp_path: Path) -> AsyncIterator[Rest]:
    async with rest(tmp_path) as service:
        yield service


def lines(*requests: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(request).encode() for request in requests)


async def send(service: Rest, content: bytes, **params: object) -> Any:
    return await service.client.post("/v1/batches", content=content, headers=JSONL, params=params)  # type: ignore[arg-type]


async def test_each_line_is_a_job(service: Rest) -> None:
    content = lines(
        {"custom_id": "one", "prompt": "a red ball", "priority": 4},
        {"prompt": "a blue ball", "seed": 3},
        {"custom_id": "three", "method": "POST", "url": "/v1/videos", "body": {"prompt": "a box", "seconds": "8"}},
    )
    answer = await send(service, b"\n" + content + b"\n\n", name="mine", priority=-2)
    batch = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (200, f"/v1/batches/{batch['id']}")
    assert (batch["object"], batch["status"], batch["metadata"]) == ("batch", "in_progress", {"name": "mine"})
    assert batch["counts"] == {"total": 3, "queued": 3, "in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0}
    videos = (await service.client.get(f"/v1/batches/{batch['id']}/videos")).json()["data"]
    assert [(video["custom_id"], video["prompt"], video["priority"]) for video in videos] == [
        ("one", "a red ball", 4),
        ("3", "a blue ball", -2),
        ("three", "a box", -2),
    ]
    assert {video["batch_id"] for video in videos} == {batch["id"]}


async def test_one_wrong_line_refuses_the_file(service: Rest) -> None:
    good = {"custom_id": "a", "prompt": "a red ball"}
    for content, code, param in (
        (b"", ErrorCode.BATCH_INVALID, None),
        (b"\n \n", ErrorCode.BATCH_INVALID, None),
        (lines(good, good), ErrorCode.BATCH_INVALID, "2"),
        (lines(good, {"custom_id": 7, "prompt": "b"}), ErrorCode.BATCH_INVALID, "2"),
        (lines(good, {"custom_id": "", "prompt": "b"}), ErrorCode.BATCH_INVALID, "2"),
        (lines(good, {"url": "/v1/chat/completions", "body": {}}), ErrorCode.BATCH_INVALID, "2"),
        (lines(good, {"prompt": "b", "seconds": "0"}), ErrorCode.FIELD_RANGE, "2.seconds"),
        (lines(good, {"prompt": ""}), ErrorCode.PROMPT_EMPTY, "2.prompts.0.prompt"),
        (lines(good) + b"\n{", ErrorCode.JSON_INVALID, "2"),
        (lines(good) + b"\n[]", ErrorCode.MESSAGE_NOT_OBJECT, "2"),
        (lines(*({"prompt": "a"} for _ in range(51))), ErrorCode.BATCH_INVALID, "51"),
        (lines(good, {"prompt": "b", "webhook_url": "https://10.0.0.1/"}), ErrorCode.URL_FORBIDDEN, "2.webhook_url"),
    ):
        assert_problem(await send(service, content), code, param)
    assert service.jobs.jobs == {}


async def test_a_file_has_a_bound(tmp_path: Path) -> None:
    async with rest(tmp_path, ServiceConfig(max_batch_bytes=100)) as service:
        assert_problem(await send(service, bytes(101)), ErrorCode.BODY_TOO_LARGE)
        answer = await service.client.post("/v1/batches", content=b"{}", headers={"Content-Type": "image/png"})
        assert_problem(answer, ErrorCode.MEDIA_TYPE_UNSUPPORTED, "Content-Type")


async def test_a_form_with_the_file(service: Rest) -> None:
    answer = await service.client.post("/v1/batches", files={"file": ("../a.jsonl", lines({"prompt": "a"}))})
    assert answer.json()["counts"]["total"] == 1
    answer = await service.client.post("/v1/batches", files={"file": (None, "text")})
    assert_problem(answer, ErrorCode.FORM_INVALID, "file")


async def test_the_same_file_with_the_same_key_is_one_batch(service: Rest) -> None:
    content = lines({"prompt": "a"})

    async def ask(content: bytes) -> Any:
        return await service.client.post("/v1/batches", content=content, headers=JSONL | {KEY_HEADER: "k"})

    assert (await ask(content)).json()["id"] == (await ask(content)).json()["id"]
    assert_problem(await ask(lines({"prompt": "b"})), ErrorCode.IDEMPOTENCY_CONFLICT)
    assert len(service.jobs.jobs) == 1


async def test_results_come_in_the_order_of_their_ends_and_none_is_missed(service: Rest) -> None:
    batch = (await send(service, lines(*({"custom_id": str(n), "prompt": "a"} for n in range(5))))).json()["id"]
    jobs = list(service.jobs.jobs)

    async def results(**params: object) -> list[str]:
        answer = await service.client.get(f"/v1/batches/{batch}/results", params=params)  # type: ignore[arg-type]
        assert answer.headers["Content-Type"].startswith("application/jsonl")
        return [json.loads(line)["id"] for line in answer.text.splitlines()]

    assert await results() == []
    await service.jobs.finish(jobs[3])
    await service.jobs.finish(jobs[0])
    assert await results() == [jobs[3], jobs[0]]
    assert await results(limit=1) == [jobs[3]]
    await service.jobs.finish(jobs[4])
    assert await results(after=jobs[0]) == [jobs[4]]
    counts = (await service.client.get(f"/v1/batches/{batch}")).json()["counts"]
    assert (counts["completed"], counts["queued"], counts["total"]) == (3, 2, 5)
    answer = await service.client.get(f"/v1/batches/{batch}/results", params={"after": "never"})
    assert_problem(answer, ErrorCode.CURSOR_INVALID)


async def test_waiting_ends_with_the_batch_or_its_time(service: Rest) -> None:
    batch = (await send(service, lines({"prompt": "a"}))).json()["id"]
    early = await service.client.get(f"/v1/batches/{batch}/wait", params={"timeout": 0})
    assert early.json()["status"] == "in_progress"
    waiting = asyncio.create_task(service.client.get(f"/v1/batches/{batch}/wait", params={"timeout": 60}))
    while not service.jobs.watched:
        await asyncio.sleep(0)
    await service.jobs.finish(next(iter(service.jobs.jobs)))
    assert (await waiting).json()["status"] == "completed"
    for wrong in ("-1", "nan", "inf", "x"):
        answer = await service.client.get(f"/v1/batches/{batch}/wait", params={"timeout": wrong})
        assert answer.status_code == 422


async def test_a_batch_is_cancelled_as_one(service: Rest) -> None:
    batch = (await send(service, lines({"prompt": "a"}, {"prompt": "b"}))).json()["id"]
    first, _ = service.jobs.jobs
    await service.jobs.finish(first)
    counts = (await service.client.post(f"/v1/batches/{batch}/cancel")).json()["counts"]
    assert (counts["completed"], counts["cancelled"]) == (1, 1)


async def test_pages_and_tenants(service: Rest) -> None:
    names = [(await send(service, lines({"prompt": "a"}))).json()["id"] for _ in range(3)]
    first = (await service.client.get("/v1/batches", params={"limit": 2})).json()
    rest_of_it = (await service.client.get("/v1/batches", params={"limit": 2, "after": first["last_id"]})).json()
    assert [batch["id"] for batch in first["data"] + rest_of_it["data"]] == names[::-1]
    assert (first["has_more"], rest_of_it["has_more"]) == (True, False)
    service.principal = OTHER
    assert (await service.client.get("/v1/batches")).json()["data"] == []
    for verb, path in (("GET", ""), ("GET", "/videos"), ("GET", "/results"), ("GET", "/wait"), ("POST", "/cancel")):
        answer = await service.client.request(verb, f"/v1/batches/{names[0]}{path}")
        assert_problem(answer, ErrorCode.BATCH_UNKNOWN)
    assert service.jobs.batches.keys() == set(names)
