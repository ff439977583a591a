"""A take that begins with a picture, end to end: through the service and offline, and gone on with after its end.

The real service with the demo model, the real command line and the real client. Equalities only.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from client.client import connect
from client.http import Server
from client.requests import Media
from client.sessions import ask_for_ticket
from tests.models.pictures import noise, png
from tests.serving import ROOT, running_service

PROMPT = "a red ball bounces over a grassy meadow by day"
LIMIT = 240.0


def longtake(*words: str) -> str:
    """What a command says to the person at the terminal."""
    result = subprocess.run(
        [sys.executable, "-m", "service", *words], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


async def ended_and_gone_on(url: str, picture: bytes) -> tuple[list[str], list[str]]:
    """A few blocks to the session's end, and two more over another connection."""
    async with connect(url) as session:
        info = await session.start(PROMPT, seed=5, pacing="none", media=Media(picture=picture))
        before = [(await anext(session)).frames_sha256]
        await session.stop()
        before += [chunk.frames_sha256 async for chunk in session]
    async with connect(url) as session:
        await session.attach(await ask_for_ticket(Server(url), info.session_id))
        return before, [(await anext(session)).frames_sha256 for _ in range(2)]


def test_a_picture_through_the_service_is_the_same_as_offline(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(noise(300, 200)))
    take = ["--prompt", PROMPT, "--seed", "5", "--seconds", "6", "--picture", str(picture)]
    files = {name: tmp_path / f"{name}.sha256" for name in ("offline", "streamed")}
    assert "not trained" in longtake("generate", *take, "--sha256", str(files["offline"]))
    with running_service() as address:
        url = f"ws://{address}"
        said = longtake("stream", *take, "--url", url, "--pacing", "none", "--sha256", str(files["streamed"]))
        assert "not trained" in said
        before, after = asyncio.run(ended_and_gone_on(url, picture.read_bytes()))
    offline, streamed = (path.read_text().split() for path in files.values())
    assert streamed == offline
    # How many blocks were under way at the stop is a matter of speed: as many as were made offline are compared.
    shown = before + after
    assert shown[: len(offline)] == offline[: len(shown)]
    assert len(after) == 2
