"""What is said of videos: one, pages of them, their files, what becomes of them, and their end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.access.principal import LOCAL
from service.api.videos.events import EventStreams, _with_pauses
from service.config import ServiceConfig
from service.errors import ErrorCode, SessionError
from service.jobs.values import JobEvent, JobFailure, JobStatus
from tests.service.api.videos.desk import OTHER, Rest, assert_problem, rest


@pytest.fixture(name="service")
async def _service(tmp_path: Path) -> AsyncIterator[Rest]:
    async with rest(tmp_path) as service:
        yield service


async def test_a_video_from_its_beginning_to_its_end(service: Rest) -> None:
    name = (await service.make())["id"]

    async def now() -> dict[str, Any]:
        found: dict[str, Any] = (await service.client.get(f"/v1/videos/{name}")).json()
        return found

    assert_problem(await service.client.get(f"/v1/videos/{name}/content"), ErrorCode.VIDEO_NOT_READY)
    await service.jobs.advance(name, 12)
    video = await now()
    assert (video["status"], video["progress"], video["session_id"], video["frames"]) == ("in_progress", 25, name, 48)
    await service.jobs.finish(name)
    video = await now()
    assert (video["status"], video["progress"], video["error"]) == ("completed", 100, None)
    assert video["completed_at"] < video["expires_at"]


async def test_a_video_that_failed_says_why(service: Rest) -> None:
    name = (await service.make())["id"]
    failure = JobFailure("size_invalid", "The model cannot make 7x7.")
    await service.jobs.change(name, status=JobStatus.FAILED, failure=failure)
    video = (await service.client.get(f"/v1/videos/{name}")).json()
    assert (video["status"], video["error"]) == (
        "failed",
        {"code": "size_invalid", "message": "The model cannot make 7x7."},
    )
    assert_problem(await service.client.get(f"/v1/videos/{name}/content"), ErrorCode.VIDEO_NOT_READY)


async def test_pages_hold_every_video_once(service: Rest) -> None:
    names = [(await service.make())["id"] for _ in range(7)]
    for order, expected in (("desc", names[::-1]), ("asc", names)):
        seen: list[str] = []
        more = True
        while more:
            after = {"after": seen[-1]} if seen else {}
            asked = {"limit": "3", "order": order} | after
            page = (await service.client.get("/v1/videos", params=asked)).json()
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            seen += [video["id"] for video in page["data"]]
            more = page["has_more"]
        assert seen == expected
    for wrong in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "random"}, {"after": ""}):
        answer = await service.client.get("/v1/videos", params=wrong)
        assert answer.status_code == 422, wrong
    assert_problem(await service.client.get("/v1/videos", params={"after": "never"}), ErrorCode.CURSOR_INVALID)


async def test_nobody_sees_what_belongs_to_another(service: Rest) -> None:
    name = (await service.make())["id"]
    await service.jobs.finish(name)
    service.principal = OTHER
    assert (await service.client.get("/v1/videos")).json()["data"] == []
    foreign, missing = [
        [
            await service.client.request(verb, f"/v1/videos/{video}{path}", json=body)
            for verb, path, body in (
                ("GET", "", None),
                ("GET", "/content", None),
                ("GET", "/events", None),
                ("POST", "/cancel", None),
                ("POST", "/remix", {"prompt": "mine now"}),
                ("DELETE", "", None),
            )
        ]
        for video in (name, "video_never")
    ]
    for theirs, nobodys in zip(foreign, missing, strict=True):
        assert_problem(theirs, ErrorCode.VIDEO_UNKNOWN)
        assert theirs.text.replace(name, "X") == nobodys.text.replace("video_never", "X")
    assert (await service.client.head(f"/v1/videos/{name}/content")).status_code == 404
    assert service.jobs.jobs[name].status is JobStatus.COMPLETED


async def test_ids_that_are_none(service: Rest) -> None:
    for name in ("%2e%2e%2fa", "..%2Fsecret", "a/b", "a" * 200, "video_%00", "-a", "%2e%2e", "%C3%A4"):
        for path in ("/content", "/events"):
            answer = await service.client.get(f"/v1/videos/{name}{path}")
            assert answer.status_code in (404, 422), name


async def test_files(service: Rest) -> None:
    name = (await service.make())["id"]
    await service.jobs.finish(name, b"0123456789")
    whole = await service.client.get(f"/v1/videos/{name}/content")
    assert (whole.status_code, whole.content, whole.headers["Content-Type"]) == (200, b"0123456789", "video/mp4")
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{name}.mp4"'
    part = await service.client.get(f"/v1/videos/{name}/content", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    head = await service.client.head(f"/v1/videos/{name}/content")
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "10", b"")
    picture = await service.client.get(f"/v1/videos/{name}/content", params={"variant": "thumbnail"})
    assert (picture.content, picture.headers["Content-Type"]) == (b"picture", "image/jpeg")
    gone = await service.client.get(f"/v1/videos/{name}/content", params={"variant": "spritesheet"})
    assert_problem(gone, ErrorCode.VIDEO_EXPIRED)
    wrong = await service.client.get(f"/v1/videos/{name}/content", params={"variant": "../../x"})
    assert wrong.status_code == 422
    (service.jobs.folder / f"{name}.mp4").unlink()
    assert_problem(await service.client.get(f"/v1/videos/{name}/content"), ErrorCode.VIDEO_EXPIRED)


async def test_cancel_and_delete(service: Rest) -> None:
    name = (await service.make())["id"]
    assert (await service.client.post(f"/v1/videos/{name}/cancel")).json()["status"] == "cancelled"
    answer = await service.client.delete(f"/v1/videos/{name}")
    assert answer.json() == {"id": name, "object": "video.deleted", "deleted": True}
    assert_problem(await service.client.get(f"/v1/videos/{name}"), ErrorCode.VIDEO_UNKNOWN)
    assert_problem(await service.client.delete(f"/v1/videos/{name}"), ErrorCode.VIDEO_UNKNOWN)


def events_in(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """What an EventSource would hear."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_events_follow_a_video_to_its_end_and_go_on_where_a_client_left(service: Rest) -> None:
    name = (await service.make())["id"]
    following = asyncio.create_task(service.client.get(f"/v1/videos/{name}/events"))
    while not service.jobs.watched:
        await asyncio.sleep(0)
    await service.jobs.advance(name, 24)
    await service.jobs.finish(name)
    answer = await following
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    heard = events_in(answer.text)
    assert heard[0][:2] == (1, "video.queued")
    assert heard[-1][:2] == (3, "video.completed")
    assert heard[-1][2]["id"] == name
    assert [event[0] for event in heard] == sorted({event[0] for event in heard})
    for told in ({"headers": {"Last-Event-ID": "2"}}, {"params": {"after": 2}}):
        again = await service.client.get(f"/v1/videos/{name}/events", **told)
        assert [event[:2] for event in events_in(again.text)] == [(3, "video.completed")]
    over = await service.client.get(f"/v1/videos/{name}/events", headers={"Last-Event-ID": "3"})
    assert (over.status_code, over.content) == (204, b"")
    wrong = await service.client.get(f"/v1/videos/{name}/events", headers={"Last-Event-ID": "x"})
    assert_problem(wrong, ErrorCode.FIELD_TYPE, "Last-Event-ID")


async def test_followers_have_a_bound_and_leave_no_trace(tmp_path: Path) -> None:
    async with rest(tmp_path) as service:
        name = (await service.make())["id"]
        streams = EventStreams(ServiceConfig(max_event_streams=1))
        said = streams.response(service.jobs.watch(LOCAL, name), lambda event: pytest.fail("unused"))
        texts = aiter(said.body_iterator)
        assert str(await anext(texts)).startswith("retry: ")
        with pytest.raises(SessionError) as caught:
            streams.response(service.jobs.watch(LOCAL, name), lambda event: pytest.fail("unused"))
        assert (caught.value.code, len(streams)) == (ErrorCode.CAPACITY, 1)
        await texts.aclose()  # type: ignore[attr-defined]
        assert len(streams) == 0


async def test_a_silent_stream_says_that_it_is_alive() -> None:
    async def never() -> AsyncIterator[JobEvent]:
        await asyncio.Event().wait()
        yield pytest.fail("unused")

    pauses = _with_pauses(never(), 0.001)
    assert [await anext(pauses), await anext(pauses)] == [None, None]
    await pauses.aclose()  # type: ignore[attr-defined]
