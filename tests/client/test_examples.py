"""Every example runs: against a server that speaks the real messages, into sinks that need no hardware."""

import asyncio
import base64
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from client import examples
from client.errors import ConnectFailed
from client.examples import camera, direct, load, notebook, pipe, window
from client.examples.arguments import parser
from service.media import init_segment
from tests.client.fake_server import FPS, FRAMES, HEIGHT, WIDTH, Peer, fake_server, pictures, whole_take
from tests.client.test_fragments import media_init

FOLDER = Path(examples.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "arguments"))
SECONDS = 2 * FRAMES / FPS


async def run(main: Callable[[Sequence[str]], None], *words: str) -> None:
    async def script(peer: Peer) -> None:
        await whole_take(peer, chunk_seconds=0.01)

    async with fake_server(script) as server:
        await asyncio.to_thread(main, ["--url", server.url, "--seconds", str(SECONDS), *words])


def test_every_example_is_tested_here() -> None:
    assert NAMES == ["camera", "direct", "load", "notebook", "pipe", "window"]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"client.examples.{name}")
    with pytest.raises(SystemExit) as left:
        module.main(["--help"])
    assert left.value.code == 0
    assert f"client.examples.{name}" in capsys.readouterr().out


def test_an_example_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "client.examples.pipe", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "ffmpeg" in said.stdout


async def test_direct(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([[0.2, "snow"], [0.4, {"snow": 2, "rain": 1}]]))
    await run(direct.main, str(script))
    first, *switches = capsys.readouterr().out.splitlines()
    assert f"{2 * FRAMES} frames of {WIDTH}x{HEIGHT}" in first
    assert len(switches) == 2
    assert json.loads(switches[0])["prompt"] == "snow"


async def test_window_with_a_sink_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    await run(window.main, "--sink", "count")
    assert capsys.readouterr().out == f"{2 * FRAMES} frames shown\n"


async def test_notebook_with_a_file_as_its_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "last.jpg"
    await run(notebook.main, "--out", str(out))
    assert out.read_bytes().startswith(b"\xff\xd8")
    assert capsys.readouterr().out == f"{2 * FRAMES} frames shown\n"


async def test_pipe_gives_a_video_that_needs_no_encoder() -> None:
    init = init_segment(width=WIDTH, height=HEIGHT, fps=int(FPS))

    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.send(media_init(base64.b64encode(init.data).decode()))
        await peer.chunk(0)
        await peer.chunk(1)
        await peer.done(2, "completed")

    made = parser("")
    made.set_defaults(raw=False, pacing="none")
    out = io.BytesIO()
    async with fake_server(script) as server:
        assert await pipe.pipe(made.parse_args(["--url", server.url]), out) == 2 * FRAMES
    out.seek(0)
    with av.open(out, "r", format="mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 2 * FRAMES


async def test_pipe_gives_raw_frames() -> None:
    made = parser("")
    made.set_defaults(raw=True, pacing="none")
    out = io.BytesIO()
    async with fake_server(whole_take) as server:
        words = ["--url", server.url, "--seconds", str(SECONDS)]
        assert await pipe.pipe(made.parse_args(words), out) == 2 * FRAMES
    assert len(out.getvalue()) == 2 * FRAMES * WIDTH * HEIGHT * 3


async def test_camera_with_a_file_as_its_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = tmp_path / "camera"
    await run(camera.main, "--device", str(device))
    assert device.stat().st_size == 2 * FRAMES * WIDTH * HEIGHT * 2
    assert capsys.readouterr().out == f"{2 * FRAMES} frames shown\n"


def test_camera_s_pictures_are_what_decoders_take_for_yuyv() -> None:
    frame = pictures(0)[3]
    packed = np.frombuffer(camera.yuyv(frame), np.uint8).reshape(HEIGHT, 2 * WIDTH)
    back = av.VideoFrame.from_ndarray(packed.reshape(HEIGHT, WIDTH, 2), format="yuyv422").to_ndarray(format="rgb24")
    # Pairs of pixels share their colour, so the white column bleeds into one neighbour.
    assert np.median(np.abs(back.astype(int) - frame)) <= 2
    assert len(camera.format_request(WIDTH, HEIGHT)) == 208


async def test_load(capsys: pytest.CaptureFixture[str]) -> None:
    async with fake_server(whole_take) as server:
        words = ["--url", server.url, "--sessions", "2", "--seconds", "1", "--switch-every", "0.3"]
        with pytest.raises(ConnectFailed):  # this server has no list of models
            await asyncio.to_thread(load.main, words)
        await asyncio.to_thread(load.main, [*words, "--later-prompt", "snow"])
    assert "2 of 2 takes" in capsys.readouterr().out
