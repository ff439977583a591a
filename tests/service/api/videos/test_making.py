"""`POST /v1/videos`: what a request comes to, in JSON and as a form, and what of it is refused with which words."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.access.principal import Principal, Scope
from service.api.videos.desk import KEY_HEADER
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.jobs.values import AdapterScale, JobStatus, TimedPrompt, WeightedText
from tests.service.api.videos.desk import OTHER, Rest, assert_problem, rest


@pytest.fixture(name="service")
async def _service(tmp_path: Path) -> AsyncIterator[Rest]:
    async with rest(tmp_path) as service:
        yield service


async def test_a_prompt_is_enough(service: Rest) -> None:
    answer = await service.client.post("/v1/videos", json={"prompt": "a red ball"})
    video = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (200, f"/v1/videos/{video['id']}")
    assert (video["object"], video["status"], video["progress"]) == ("video", "queued", 0)
    assert (video["model"], video["seconds"], video["prompt"]) == ("demo", "4", "a red ball")
    assert (video["error"], video["completed_at"], video["session_id"]) == (None, None, None)
    request = service.jobs.jobs[video["id"]].request
    assert request.timeline == (TimedPrompt(at=0.0, prompts=(WeightedText("a red ball"),)),)
    assert (request.seconds, request.width, request.height, request.notes) == (4.0, None, None, ())


async def test_everything_that_can_be_said_comes_to_the_job(service: Rest) -> None:
    video = await service.make(
        prompts=[
            {"at": 6, "prompts": [{"text": "snow", "weight": 2}, {"text": "rain"}], "mode": "cut"},
            {"at": 2.5, "prompt": "a blue ball", "transition": 3, "sink": "refresh"},
        ],
        seconds="7.5",
        size="832x480",
        seed=2**63 - 1,
        steps=4,
        decoder="full",
        priority=-3,
        adapters=[{"name": "ink", "scale": 0.5}],
        metadata={"project": "one"},
        webhook_url="https://hooks.example/longtake",
        model="demo",
    )
    assert (video["seconds"], video["size"], video["priority"], video["metadata"]) == (
        "7.5",
        "832x480",
        -3,
        {"project": "one"},
    )
    assert [(entry["at"], entry["prompt"]) for entry in video["prompts"]] == [
        (0, "a red ball"),
        (2.5, "a blue ball"),
        (6, None),
    ]
    job = service.jobs.jobs[video["id"]].request
    blend = (WeightedText("snow", 2.0), WeightedText("rain", 1.0))
    assert job.timeline[1] == TimedPrompt(
        at=2.5, prompts=(WeightedText("a blue ball"),), sink="refresh", transition_chunks=3
    )
    assert job.timeline[2] == TimedPrompt(at=6.0, prompts=blend, mode="cut")
    assert (job.width, job.height, job.seconds, job.seed, job.steps) == (832, 480, 7.5, 2**63 - 1, 4)
    assert (job.decoder, job.adapters, job.webhook_url) == (
        "full",
        (AdapterScale("ink", 0.5),),
        "https://hooks.example/longtake",
    )


FORM = {
    "prompt": "a red ball",
    "seconds": "8",
    "seed": "7",
    "priority": "-2",
    "prompts[][at]": ["2", "4"],
    "prompts[][prompt]": ["snow", "rain"],
    "metadata[a]": "1",
}


async def test_a_form_is_the_same_request(service: Rest) -> None:
    fields = [("prompts[][at]", "2"), ("prompts[][prompt]", "snow"), ("prompts[][at]", "4"), ("prompts[][prompt]", "5")]
    told = [(name, value) for name, value in FORM.items() if isinstance(value, str)]
    body, kind = form([*told, *fields], file=b"\x89PNG\r\n\x1a\n")
    answer = await service.client.post("/v1/videos", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    job = service.jobs.jobs[answer.json()["id"]]
    assert [(entry.at, entry.prompts[0].text) for entry in job.request.timeline] == [
        (0, "a red ball"),
        (2, "snow"),
        (4, "5"),
    ]
    assert (job.request.seed, job.request.priority, dict(job.request.metadata)) == (7, -2, {"a": "1"})
    assert service.jobs.openings[job.id] == b"\x89PNG\r\n\x1a\n"


async def test_a_form_can_hold_json(service: Rest) -> None:
    timeline = json.dumps([{"at": 0, "prompt": "one"}, {"at": 1, "prompts": [{"text": "two", "weight": 0.5}]}])
    body, kind = form([("prompts", timeline), ("metadata", '{"a": "b"}')])
    answer = await service.client.post("/v1/videos", content=body, headers={"Content-Type": kind})
    assert [entry["at"] for entry in answer.json()["prompts"]] == [0, 1]
    assert answer.json()["metadata"] == {"a": "b"}


def form(fields: list[tuple[str, str]], *, file: bytes | None = None, name: str = "a.png") -> tuple[bytes, str]:
    """A body as a browser would send it, and its type."""
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields
    ]
    if file is not None:
        head = f'--B\r\nContent-Disposition: form-data; name="input_reference"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + file + b"\r\n")
    return b"".join(parts) + b"--B--\r\n", "multipart/form-data; boundary=B"


WRONG: list[tuple[dict[str, Any], ErrorCode, str]] = [
    ({"seconds": "0"}, ErrorCode.FIELD_RANGE, "seconds"),
    ({"seconds": "-4"}, ErrorCode.FIELD_RANGE, "seconds"),
    ({"seconds": "4e9"}, ErrorCode.FIELD_RANGE, "seconds"),
    ({"seconds": True}, ErrorCode.FIELD_TYPE, "seconds"),
    ({"seconds": "301"}, ErrorCode.LENGTH_LIMIT, "seconds"),
    ({"size": "0x480"}, ErrorCode.FIELD_RANGE, "size"),
    ({"size": "832"}, ErrorCode.FIELD_RANGE, "size"),
    ({"size": "-1x-1"}, ErrorCode.FIELD_RANGE, "size"),
    ({"seed": -1}, ErrorCode.FIELD_RANGE, "seed"),
    ({"seed": 2**63}, ErrorCode.FIELD_RANGE, "seed"),
    ({"seed": "7"}, ErrorCode.FIELD_TYPE, "seed"),
    ({"seed": True}, ErrorCode.FIELD_TYPE, "seed"),
    ({"steps": 0}, ErrorCode.FIELD_RANGE, "steps"),
    ({"priority": 11}, ErrorCode.FIELD_RANGE, "priority"),
    ({"prompt": ""}, ErrorCode.PROMPT_EMPTY, "prompts.0.prompt"),
    ({"prompt": " \u200b"}, ErrorCode.PROMPT_EMPTY, "prompts.0.prompt"),
    ({"prompt": "x" * 2001}, ErrorCode.PROMPT_TOO_LONG, "prompts.0.prompt"),
    ({"prompt": None}, ErrorCode.PROMPT_MISSING, "prompt"),
    ({"prompt": None, "prompts": [{"at": 1, "prompt": "late"}]}, ErrorCode.PROMPT_MISSING, "prompts"),
    ({"prompts": [{"at": 0, "prompt": "another"}]}, ErrorCode.PROMPT_CONFLICT, "prompts"),
    ({"prompts": [{"at": 4, "prompt": "after the end"}]}, ErrorCode.FIELD_RANGE, "prompts.1.at"),
    ({"prompts": [{"at": 1, "prompt": "a"}, {"at": 1, "prompt": "b"}]}, ErrorCode.FIELD_RANGE, "prompts.1.at"),
    ({"prompts": [{"prompt": "when"}]}, ErrorCode.FIELD_MISSING, "prompts.0.at"),
    ({"prompts": [{"at": -1, "prompt": "a"}]}, ErrorCode.FIELD_RANGE, "prompts.0.at"),
    ({"prompts": [{"at": 1, "prompt": "a", "mode": "dissolve"}]}, ErrorCode.FIELD_CHOICE, "prompts.0.mode"),
    (
        {"prompts": [{"at": 1, "prompts": [{"text": "a", "weight": -1}]}]},
        ErrorCode.WEIGHTS_INVALID,
        "prompts.0.prompts.0.weight",
    ),
    ({"prompts": [{"at": n / 3, "prompt": "a"} for n in range(1, 9)]}, ErrorCode.FIELD_RANGE, "prompts"),
    ({"format": "gif"}, ErrorCode.FIELD_CHOICE, "format"),
    ({"colour": "red"}, ErrorCode.FIELD_UNKNOWN, "colour"),
    ({"metadata": {"a": 1}}, ErrorCode.FIELD_TYPE, "metadata.a"),
    ({"metadata": {str(n): "" for n in range(17)}}, ErrorCode.FIELD_RANGE, "metadata"),
    ({"input_reference": {"file_id": "file-1"}}, ErrorCode.FIELD_UNKNOWN, "input_reference.file_id"),
    ({"input_reference": "/etc/passwd"}, ErrorCode.URL_INVALID, "input_reference.image_url"),
    ({"input_reference": "file:///etc/passwd"}, ErrorCode.URL_INVALID, "input_reference.image_url"),
    ({"input_reference": "http://example.com/a.png"}, ErrorCode.URL_INVALID, "input_reference.image_url"),
    ({"input_reference": "data:image/png;base64,*"}, ErrorCode.URL_INVALID, "input_reference.image_url"),
    ({"input_reference": "data:image/png"}, ErrorCode.URL_INVALID, "input_reference.image_url"),
    ({"input_reference": "data:,"}, ErrorCode.PICTURE_INVALID, "input_reference.image_url"),
    ({"webhook_url": "http://hooks.example/"}, ErrorCode.URL_INVALID, "webhook_url"),
    ({"webhook_url": "https://127.0.0.1/"}, ErrorCode.URL_FORBIDDEN, "webhook_url"),
]


async def test_what_is_wrong_is_named(service: Rest) -> None:
    for fields, code, param in WRONG:
        said = {"prompt": "a red ball"} | fields
        answer = await service.client.post("/v1/videos", json={k: v for k, v in said.items() if v is not None})
        body = assert_problem(answer, code, param)
        assert body["error"]["type"] == "invalid_request_error", fields
    assert service.jobs.jobs == {}


BODIES: list[tuple[bytes, str, ErrorCode]] = [
    (b"{", "application/json", ErrorCode.JSON_INVALID),
    (b"[]", "application/json", ErrorCode.MESSAGE_NOT_OBJECT),
    (b'{"prompt": "a", "prompt": "b"}', "application/json", ErrorCode.JSON_DUPLICATE_KEY),
    (b'{"prompt": "a\\u0000"}', "application/json", ErrorCode.TEXT_INVALID),
    (b'{"prompt": "\xff"}', "application/json", ErrorCode.TEXT_INVALID),
    (b'{"seed": NaN}', "application/json", ErrorCode.JSON_NUMBER_INVALID),
    (b"[" * 100_000, "application/json", ErrorCode.JSON_TOO_DEEP),
    (b"prompt=a", "application/x-www-form-urlencoded", ErrorCode.MEDIA_TYPE_UNSUPPORTED),
    (b"", "", ErrorCode.MEDIA_TYPE_UNSUPPORTED),
    (b"", "multipart/form-data", ErrorCode.FORM_INVALID),
    (b"garbage", "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
    (form([("prompt", "a\0b")])[0], "multipart/form-data; boundary=B", ErrorCode.TEXT_INVALID),
    (form([("prompt", "a"), ("prompt", "b")])[0], "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
    (form([("prompt]", "a")])[0], "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
    (form([("a[b]", "1"), ("a", "2")])[0], "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
    (form([("a", "1"), ("a[b]", "2")])[0], "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
    (form([("input_reference", "x")], file=b"y")[0], "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
    (form([("prompt", "a" * (1 << 20) + "a")])[0], "multipart/form-data; boundary=B", ErrorCode.FORM_INVALID),
]


async def test_bodies_that_cannot_be_read(service: Rest) -> None:
    for content, kind, code in BODIES:
        told = {"Content-Type": kind} if kind else {}
        answer = await service.client.post("/v1/videos", content=content, headers=told)
        assert (answer.status_code, answer.json()["code"]) in [(400, code), (415, code)], content[:99]
    assert service.jobs.jobs == {}


async def test_a_body_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    config = ServiceConfig(max_clip_bytes=1000, max_picture_bytes=1000, max_uploads=1)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1 << 16
            yield bytes(1 << 16)

    async with rest(tmp_path, config) as service:
        answer = await service.client.post(
            "/v1/videos", content=endless(), headers={"Content-Type": "application/json"}
        )
        assert_problem(answer, ErrorCode.BODY_TOO_LARGE)
        assert read <= (2 << 20) + 1400 + (2 << 16)
        told = {"Content-Type": "application/json", "Content-Length": str(10**9)}
        assert_problem(await service.client.post("/v1/videos", content=b"{", headers=told), ErrorCode.BODY_TOO_LARGE)
        body, kind = form([("prompt", "a")], file=bytes(1001))
        answer = await service.client.post("/v1/videos", content=body, headers={"Content-Type": kind})
        assert_problem(answer, ErrorCode.PICTURE_TOO_LARGE, "input_reference")


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with rest(tmp_path, ServiceConfig(upload_timeout=0.05)) as service:
        answer = await service.client.post("/v1/videos", content=never(), headers={"Content-Type": "application/json"})
        assert_problem(answer, ErrorCode.REQUEST_TIMEOUT)
        assert "Retry-After" in answer.headers


async def test_the_same_key_makes_one_video(service: Rest) -> None:
    async def ask(prompt: str, key: str) -> Any:
        return await service.client.post("/v1/videos", json={"prompt": prompt}, headers={KEY_HEADER: key})

    first, again = await ask("a red ball", "k1"), await ask("a red ball", "k1")
    assert first.json()["id"] == again.json()["id"]
    assert_problem(await ask("another", "k1"), ErrorCode.IDEMPOTENCY_CONFLICT)
    assert (await ask("another", "k2")).json()["id"] != first.json()["id"]
    for key in ("", "k" * 256, "k\ty"):
        assert_problem(await ask("a red ball", key), ErrorCode.FIELD_RANGE, KEY_HEADER)
    service.principal = OTHER
    assert (await ask("another", "k1")).json()["id"] != first.json()["id"]
    assert len(service.jobs.jobs) == 3


async def test_a_remix_is_the_same_under_another_prompt(service: Rest) -> None:
    body, kind = form([("prompt", "a red ball"), ("seed", "9"), ("size", "96x64")], file=b"\x89PNG\r\n\x1a\n")
    first = (await service.client.post("/v1/videos", content=body, headers={"Content-Type": kind})).json()
    answer = await service.client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "a blue ball"})
    made = answer.json()
    assert (answer.status_code, made["remixed_from_video_id"]) == (200, first["id"])
    assert (made["prompt"], made["seed"], made["size"]) == ("a blue ball", 9, "96x64")
    assert service.jobs.openings[made["id"]] == b"\x89PNG\r\n\x1a\n"
    wrong = await service.client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "a", "seed": 3})
    assert_problem(wrong, ErrorCode.FIELD_UNKNOWN, "seed")
    wrong = await service.client.post("/v1/videos/never/remix", json={"prompt": "a"})
    assert_problem(wrong, ErrorCode.VIDEO_UNKNOWN)


async def test_scopes(service: Rest) -> None:
    video = await service.make()
    service.principal = Principal("local", "key", frozenset({Scope.VIDEOS_READ}))
    assert (await service.client.get(f"/v1/videos/{video['id']}")).status_code == 200
    assert_problem(await service.client.post("/v1/videos", json={"prompt": "a"}), ErrorCode.SCOPE_MISSING)
    assert_problem(await service.client.delete(f"/v1/videos/{video['id']}"), ErrorCode.SCOPE_MISSING)
    service.principal = Principal("local", "key", frozenset({Scope.SESSIONS}))
    assert_problem(await service.client.get("/v1/videos"), ErrorCode.SCOPE_MISSING)
    assert service.jobs.jobs[video["id"]].status is JobStatus.QUEUED
