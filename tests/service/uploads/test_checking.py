"""Files of strangers: what is whole is said to be; what harms is refused, in a process of its own and little memory."""

import asyncio
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from service.errors import REGISTRY, ErrorCode, ProtocolError
from service.uploads.checking import JUDGE, FileCheck
from service.uploads.kinds import Kind
from tests.models.pictures import noise, write_film
from tests.service.uploads import hostile

ROOT = Path(__file__).parents[3]
INVALID, LARGE = ErrorCode.PICTURE_INVALID, ErrorCode.PICTURE_TOO_LARGE
MOST_MEMORY = 600 * 2**20
"""Of the process that judges: what its libraries take, and a picture of forty million pixels."""

HOSTILE: dict[str, tuple[bytes, ErrorCode]] = {
    "50,000 x 50,000": (hostile.png_bomb(50_000, 50_000), LARGE),
    "a line of a thousand million": (hostile.png_bomb(1_000_000_000, 1), LARGE),
    "a row of two thousand": (hostile.png_bomb(2001, 1), LARGE),
    "a head that lies, JPEG": (hostile.lying_jpeg(), LARGE),
    "a head that lies, WebP": (hostile.lying_webp(), LARGE),
    "a comment of 256 MiB": (hostile.zipped_text_bomb(), INVALID),
    "cut short, PNG": (hostile.picture("PNG")[:-300], INVALID),
    "cut short, JPEG": (hostile.picture("JPEG")[:400], INVALID),
    "cut short, WebP": (hostile.picture("WEBP")[:100], INVALID),
    "a head alone, PNG": (hostile.PNG_HEAD, INVALID),
    "a head alone, JPEG": (b"\xff\xd8\xff", INVALID),
    "a head alone, WebP": (b"RIFF\0\0\0\0WEBP", INVALID),
    "a head alone, MP4": (b"\0\0\0\x18ftypisom\0\0\0\0", ErrorCode.CLIP_INVALID),
    "a head alone, Matroska": (b"\x1a\x45\xdf\xa3", ErrorCode.CLIP_INVALID),
    "a PNG that goes on as a zip": (hostile.PNG_HEAD + hostile.ZIP, INVALID),
    "10,000 frames of a GIF": (hostile.gif(10_000), INVALID),
    "SVG": (hostile.SVG, INVALID),
    "HTML": (hostile.HTML, INVALID),
    "PDF": (hostile.PDF, INVALID),
    "PostScript": (hostile.POSTSCRIPT, INVALID),
    "TIFF": (hostile.TIFF, INVALID),
    "a playlist of this machine's files": (hostile.PLAYLIST, INVALID),
    "a list of this machine's files": (hostile.CONCAT, INVALID),
    "nothing": (b"", INVALID),
    "zeros": (bytes(1 << 20), INVALID),
}


def clip(folder: Path, name: str) -> bytes:
    """A second of noise, in the container that the name says."""
    if name.endswith(".mkv"):
        return write_film(folder / name, np.stack([noise(48, 32)] * 20), fps=16).read_bytes()
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise(48, 32), format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
async def test_whole_pictures(name: str) -> None:
    found = await FileCheck()(hostile.picture(name), "")
    assert (found.kind, found.width, found.height) == (Kind.PICTURE, 60, 40)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "1"])
async def test_pictures_of_every_depth(mode: str) -> None:
    assert (await FileCheck()(hostile.picture("PNG", mode="L" if mode == "I;16" else mode), "")).kind is Kind.PICTURE


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
async def test_whole_clips(tmp_path: Path, name: str) -> None:
    found = await FileCheck()(clip(tmp_path, name), "")
    assert (found.kind, found.width, found.height) == (Kind.CLIP, 48, 32)


async def test_clips_that_are_none(tmp_path: Path) -> None:
    whole = clip(tmp_path, "a.mp4")
    for data in (whole[:200], whole[:40] + bytes(len(whole) - 40), whole[: len(whole) // 2]):
        with pytest.raises(ProtocolError) as caught:
            await FileCheck()(data, "input_reference")
        assert (caught.value.code, caught.value.field) == (ErrorCode.CLIP_INVALID, "input_reference")


async def test_what_harms_is_refused_and_costs_little() -> None:
    """Memory is that of the judge at its end, as the system has counted it."""
    check = FileCheck()
    for name, (data, code) in HOSTILE.items():
        assert len(data) < 1 << 20 or not any(data), name
        with pytest.raises(ProtocolError) as caught:
            await check(data, "input_reference")
        assert (caught.value.code, caught.value.field) == (code, "input_reference"), (name, caught.value.message)
        assert 400 <= REGISTRY[code].http_status < 500
        assert "/etc/passwd" not in caught.value.message
    for name in ("a comment of 256 MiB", "50,000 x 50,000", "a head that lies, JPEG"):
        assert peak_memory(HOSTILE[name][0]) < MOST_MEMORY, name


def peak_memory(data: bytes) -> int:
    """Bytes that a judge of this file takes at its most."""
    # Not of getrusage, which counts what the process that started it had.
    code = "import pathlib, sys; from service.uploads.judging import main; main(); "
    code += "status = pathlib.Path('/proc/self/status').read_text(); "
    code += "sys.stderr.write(status.partition('VmHWM:')[2].split()[0])"
    ran = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd=ROOT, timeout=120)
    return int(ran.stderr.split()[-1]) * 1024


def test_the_bound_holds_what_asks_for_more() -> None:
    """A judge that is made to ask for memory, time or a file of its own is refused all three by the system."""
    for wish, told in (
        ("bytearray(2 << 30)", "MemoryError"),
        ("open('/tmp/longtake-judge', 'wb').write(b'x' * 65536)", "File too large"),
    ):
        code = f"from service.uploads.judging import bound; import signal; bound()\n{wish}"
        code = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " + code
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert ran.returncode != 0
        assert told in ran.stderr
    (Path("/tmp") / "longtake-judge").unlink(missing_ok=True)
    endless = "from service.uploads.judging import bound; bound(cpu_seconds=1)\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-c", endless], capture_output=True, cwd=ROOT, timeout=120)
    assert ended.returncode < 0


async def test_a_judge_that_dies_or_sleeps_has_judged(tmp_path: Path) -> None:
    picture = hostile.picture("PNG")
    for program in ("import os; os.abort()", "print('no JSON')", "raise SystemExit(3)"):
        with pytest.raises(ProtocolError) as caught:
            await FileCheck((sys.executable, "-c", program))(picture, "")
        assert caught.value.code is INVALID
    # The file's name is the process's mark: other tests have children of their own.
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text("import time; time.sleep(600)")
    with pytest.raises(ProtocolError) as caught:
        await FileCheck((sys.executable, str(sleeper)), timeout=0.2)(picture, "")
    assert caught.value.code is INVALID
    assert str(sleeper) not in [word for line in command_lines() for word in line]


def command_lines() -> list[list[str]]:
    """Of the children of this process that there still are."""
    lines = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            lines.append(child.cmdline())
    return lines


ALONE = """
import json, os, sys
sys.stdin.buffer.read()
os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))
alone = {"kind": "picture", "width": 1, "height": 1}
os.unlink(sys.argv[1])
print(json.dumps(alone))
"""
"""A judge that holds a file while it judges, and fails where another one has it."""


async def test_few_are_judged_at_once(tmp_path: Path) -> None:
    check = FileCheck((sys.executable, "-c", ALONE, str(tmp_path / "held")), at_once=1)
    found = await asyncio.gather(*(check(hostile.picture("PNG"), "") for _ in range(4)))
    assert [checked.width for checked in found] == [1] * 4


def test_the_judge_says_one_line() -> None:
    ran = subprocess.run(JUDGE, input=hostile.picture("PNG"), capture_output=True, cwd=ROOT, timeout=120, check=True)
    assert json.loads(ran.stdout) == {"kind": "picture", "width": 60, "height": 40}
