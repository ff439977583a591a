"""A batch from a file to a folder: whole, interrupted and gone on with, with videos that fail, and refused.

The routes are the real ones over a queue in memory, behind a real socket; jobs end when the test says so.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import typer
import uvicorn

from client.batch_folder import RESULTS, STATE, BatchFolder, FolderOfAnother
from client.batch_run import BatchPlan, BatchRun
from client.errors import ConnectFailed, RequestRefused
from client.http import Server
from client.video_values import Video
from service.commands.batch import plan_of, run_batch
from service.commands.failures import describe
from service.commands.options import BatchOptions, OptionError
from service.jobs.values import JobFailure, JobStatus
from tests.service.api.videos.desk import Rest, rest

GUARD = 120.0
LINES = b"\n".join(json.dumps({"custom_id": name, "prompt": "a red ball"}).encode() for name in ("a", "b", "../c", "d"))


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Rest, Server]]:
    """The routes on a port of their own."""
    async with rest(folder) as service:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(service.app, lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(GUARD):
                yield service, Server(f"ws://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            await serving


def plan(folder: Path, **changes: object) -> BatchPlan:
    said = {"lines": LINES, "folder": folder / "out", "progress": False, "poll": 0.05} | changes
    return BatchPlan(**said)  # type: ignore[arg-type]


async def until_sent(service: Rest, count: int = 4) -> list[str]:
    """The jobs of the batch, in the order of the file, once they are there."""
    while len(service.jobs.jobs) < count:
        await asyncio.sleep(0.01)
    return list(service.jobs.jobs)


async def test_a_file_becomes_a_folder_of_videos(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, server):
        told: list[Video] = []
        running = asyncio.create_task(BatchRun(server, plan(tmp_path), told=told.append).run())
        jobs = await until_sent(service)
        for number in (2, 0, 3, 1):
            await service.jobs.finish(jobs[number], f"video {number}".encode())
        report = await running
        out = tmp_path / "out"
        assert report.batch.status == "completed"
        assert [path.name for path in report.files] == [f"{jobs[2]}.mp4", "a.mp4", "d.mp4", "b.mp4"]
        assert [(out / name).read_bytes() for name in ("a.mp4", "b.mp4", f"{jobs[2]}.mp4", "d.mp4")] == [
            b"video 0",
            b"video 1",
            b"video 2",
            b"video 3",
        ]
        assert {path.name for path in out.iterdir()} == {
            "a.mp4",
            "b.mp4",
            "d.mp4",
            f"{jobs[2]}.mp4",
            STATE,
            RESULTS,
        }
        assert [video.id for video in told] == [jobs[2], jobs[0], jobs[3], jobs[1]]
        assert report.failed == {}
        again = await BatchRun(server, plan(tmp_path)).run()
        assert (again.files, len(service.jobs.batches)) == (report.files, 1)


async def test_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, server):

        def interrupt(video: Video) -> None:
            raise KeyError("as a key that is pressed")

        sent = await BatchRun(server, plan(tmp_path, wait=False)).run()
        assert (sent.files, sent.batch.counts["queued"]) == ([], 4)
        jobs = list(service.jobs.jobs)
        await service.jobs.finish(jobs[1], b"one")
        with pytest.raises(KeyError):
            await BatchRun(server, plan(tmp_path), told=interrupt).run()
        results = tmp_path / "out" / RESULTS
        assert len(results.read_bytes().splitlines()) == 1
        results.write_bytes(results.read_bytes() + b'{"id": "video_torn')
        (tmp_path / "out" / "b.mp4").write_bytes(b"not fetched again")
        for number in (0, 2, 3):
            await service.jobs.finish(jobs[number], b"later")
        report = await BatchRun(server, plan(tmp_path)).run()
        assert [path.name for path in report.files] == ["b.mp4", "a.mp4", f"{jobs[2]}.mp4", "d.mp4"]
        assert (tmp_path / "out" / "b.mp4").read_bytes() == b"not fetched again"
        assert [json.loads(line)["id"] for line in results.read_bytes().splitlines()] == [
            jobs[1],
            jobs[0],
            jobs[2],
            jobs[3],
        ]
        assert len(service.jobs.batches) == 1


async def test_an_answer_that_was_lost_makes_no_second_batch(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, server):
        await BatchRun(server, plan(tmp_path, wait=False)).run()
        state = tmp_path / "out" / STATE
        said = json.loads(state.read_text())
        state.write_text(json.dumps(said | {"batch": None}))
        again = await BatchRun(server, plan(tmp_path, wait=False)).run()
        assert (again.batch.id, len(service.jobs.batches)) == (said["batch"], 1)


async def test_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, server):
        running = asyncio.create_task(BatchRun(server, plan(tmp_path)).run())
        jobs = await until_sent(service)
        failure = JobFailure("size_invalid", "no such size")
        await service.jobs.change(jobs[0], status=JobStatus.FAILED, failure=failure)
        await service.jobs.cancel_all()
        report = await running
        assert report.failed == {"a": "size_invalid", "b": "cancelled", "../c": "cancelled", "d": "cancelled"}
        assert report.files == []


async def test_a_batch_is_cancelled_and_the_rest_fetched(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, server):
        await BatchRun(server, plan(tmp_path, wait=False)).run()
        await service.jobs.finish(next(iter(service.jobs.jobs)), b"made")
        report = await BatchRun(server, plan(tmp_path, cancel=True)).run()
        assert ([path.name for path in report.files], sorted(report.failed)) == (["a.mp4"], ["../c", "b", "d"])


async def test_refusals_name_the_line_and_leave_a_folder_that_can_be_used(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, server):
        wrong = LINES + b'\n{"prompt": ""}'
        with pytest.raises(RequestRefused) as caught:
            await BatchRun(server, plan(tmp_path, lines=wrong)).run()
        assert (caught.value.code, caught.value.field) == ("prompt_empty", "5.prompts.0.prompt")
        with pytest.raises(FolderOfAnother):
            await BatchRun(server, plan(tmp_path)).run()
        assert service.jobs.jobs == {}


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed):
        await BatchRun(Server(f"ws://127.0.0.1:{port}"), plan(tmp_path), retry_pause=0.001).run()
    assert (tmp_path / "out" / STATE).exists()


def test_a_folder_with_something_else_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text("[]")
    with pytest.raises(FolderOfAnother):
        BatchFolder.open(tmp_path, LINES)


# The command


async def test_the_command_and_its_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file.jsonl"
    file.write_bytes(LINES)
    async with served(tmp_path) as (service, server):
        options = BatchOptions(file=file, url=server.url, json=True)
        running = asyncio.create_task(asyncio.to_thread(run_batch, options))
        for job in await until_sent(service):
            await service.jobs.finish(job)
        await running
        *videos, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [video["custom_id"] for video in videos] == ["a", "b", "../c", "d"]
        assert (last["status"], len(last["files"]), last["failed"]) == ("completed", 4, {})
        assert (tmp_path / "file" / "a.mp4").read_bytes() == b"video"
        failing = BatchOptions(file=file, out=tmp_path / "other", url=server.url)
        running = asyncio.create_task(asyncio.to_thread(run_batch, failing))
        await until_sent(service, 8)
        await service.jobs.cancel_all()
        with pytest.raises(typer.Exit) as ended:
            await running
        assert ended.value.exit_code == 1
        assert "a: cancelled" in capsys.readouterr().err
        file.write_bytes(b'{"prompt": ""}')
        with pytest.raises(OptionError, match="another file"):
            await asyncio.to_thread(run_batch, options)
        wrong = BatchOptions(file=file, out=tmp_path / "third", url=server.url)
        with pytest.raises(RequestRefused) as refused:
            await asyncio.to_thread(run_batch, wrong)
        assert describe(refused.value).exit_code == 2


def test_options_that_cannot_be_right(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--out"):
        plan_of(BatchOptions(file=Path("-")))
    plain = tmp_path / "plain"
    plain.write_bytes(LINES)
    assert plan_of(BatchOptions(file=plain)).folder == tmp_path / "plain.out"
    with pytest.raises(FileNotFoundError):
        plan_of(BatchOptions(file=tmp_path / "missing.jsonl"))
