"""client/README.md does what it says: its program and its command run, against the fake server."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from client.load_report import LoadReport, Percentiles
from client.report import StreamReport, SwitchReport
from tests.client.fake_server import Peer, fake_server, whole_take
from tests.client.serving import serving
from tests.service.api.running import running
from tests.service.api.videos.desk import rest
from tests.serving import running_service

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"(?:ws|http)://127\.0\.0\.1:8000")
TEXT = (ROOT / "client" / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def words_of(command: str) -> list[str]:
    """The first block that tells this command, without the program's name."""
    told = next(block for block in blocks("sh") if block.startswith(f"longtake {command} "))
    return shlex.split(told)[1:]


async def script(peer: Peer) -> None:
    await whole_take(peer, chunk_seconds=0.02, prompted_by=4.5)


async def run_beside_server(*words: str, folder: Path) -> str:
    """The standard output of a command that ends well; SERVER in its words is the fake server's address."""
    async with fake_server(script) as server:
        command = [word.replace("SERVER", server.url) for word in words]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(300):
            output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_programs(tmp_path: Path) -> None:
    library, _, program, plain = (ADDRESS.sub("SERVER", text) for text in blocks("python"))
    (said,) = (await run_beside_server(sys.executable, "-c", library, folder=tmp_path)).splitlines()
    assert said == "96 frames of (16, 32, 3), the last at 5.9375 s"
    lines = (await run_beside_server(sys.executable, "-c", program, folder=tmp_path)).splitlines()
    assert lines[0] == "32x16 at 16.0 frames a second"
    assert lines[1] == "0 0.0 (12, 16, 32, 3)"
    assert len(lines) == 1 + 16 + 1
    assert lines[-1].startswith("SwitchReport(prompt='a blue star circles over the sea at night'")
    lines = (await run_beside_server(sys.executable, "-c", plain, folder=tmp_path)).splitlines()
    assert lines[:2] == ["0 (12, 16, 32, 3)", "1 (12, 16, 32, 3)"]
    assert len(lines) == 8 + 1
    assert lines[-1].startswith("SwitchReport(prompt='a blue star circles over the sea at night'")


async def test_program_of_videos(tmp_path: Path) -> None:
    _, program, *_ = blocks("python")
    async with rest(tmp_path) as service, serving(service.app) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ADDRESS.sub(url, program), cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stdout=-1
        )
        async with asyncio.timeout(300):
            while not service.jobs.jobs:
                await asyncio.sleep(0.01)
            await service.jobs.advance("video_1", 12)
            await service.jobs.finish("video_1", b"film")
            output, _ = await process.communicate()
    assert output.decode() == "completed 48 ['video_1']\n"
    assert (tmp_path / "ball.mp4").read_bytes() == b"film"


async def test_top() -> None:
    async with running() as service:
        output = await run_command(*words_of("top"), "--url", service.url, folder=ROOT)
    assert json.loads(output)["sessions"] == []


async def run_command(*words: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *words, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=-1
    )
    async with asyncio.timeout(300):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_commands(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", *words_of("stream"), "--url", "SERVER", "--pacing", "none"]
    output = await run_beside_server(*command, folder=tmp_path)
    report = json.loads(output.splitlines()[-1])
    assert (report["frames"], report["missing"]) == (168, 0)
    assert [switch["prompt"] for switch in report["switches"]] == ["a blue star circles over the sea at night"]
    facts = json.loads(await run_command(*words_of("sheet"), folder=tmp_path))
    assert (facts["frames"], facts["chapters"], facts["stills"]) == (168, 2, 12)
    assert (tmp_path / "sheet.jpg").stat().st_size > 0


async def test_the_picture_in_the_terminal(tmp_path: Path) -> None:
    (words,) = (shlex.split(block)[1:] for block in blocks("sh") if "--show" in block)
    command = [sys.executable, "-m", "service", *words, "--url", "SERVER"]
    await run_beside_server(*command, folder=tmp_path)


@pytest.mark.system
async def test_many_sessions(tmp_path: Path) -> None:
    with running_service() as address:
        output = await run_command(*words_of("load"), "--url", f"ws://{address}", folder=tmp_path)
    report = json.loads(output.splitlines()[-1])
    assert (report["sessions"], report["completed"], report["missing"]) == (2, 2, 0)


def test_completion_is_written(tmp_path: Path) -> None:
    (told,) = (block for block in blocks("sh") if "COMPLETE" in block)
    (tmp_path / "longtake").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m service "$@"\n')
    (tmp_path / "longtake").chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", told], cwd=tmp_path, env=environment, timeout=300, check=True)
    assert "_longtake_completion" in (tmp_path / "longtake.bash").read_text()


def test_every_command_that_is_told_runs_here() -> None:
    assert len(blocks("sh")) == 6


def test_every_example_is_named() -> None:
    named = set(re.findall(r"client\.examples\.(\w+)", TEXT))
    assert named == {path.stem for path in (ROOT / "client/examples").glob("*.py")} - {"__init__", "arguments"}


def test_every_figure_of_the_report_is_explained() -> None:
    table = TEXT.partition("The last line under `--json`")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert named == {field.name for kind in (StreamReport, SwitchReport) for field in fields(kind)} - {"prompt"}
    table = TEXT.partition("## Load")[2].partition("\n## ")[0].partition("| key |")[2]
    named = set(re.findall(r"`(\w+)`", table))
    assert named == {field.name for kind in (LoadReport, Percentiles) for field in fields(kind)}


def test_every_file_is_in_the_table() -> None:
    table = TEXT.partition("\n## ")[0]
    here = {file.name for file in (ROOT / "client").glob("*.py")} - {"__init__.py"}
    assert here == set(re.findall(r"`(\w+\.py)`", table))
