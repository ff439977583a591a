"""A video in a terminal: half blocks of the right colours, frames at their times, and lines that are typed."""

import asyncio
import io
import os
import re
import sys

import numpy as np
import pytest

from client.client import connect
from client.switch import Switch
from client.terminal import TerminalScreen, fitted, half_blocks, read_lines
from client.typing_in import HELP, Typing
from service.protocol import ClientMessage
from service.protocol.client import SessionControl, SessionInteraction, SessionStop
from tests.client.fake_server import FRAMES, Peer, fake_server
from tests.client.test_chunk import chunk_of

ESCAPE = re.compile(r"\x1b(\[[?0-9;]*[A-Za-z]|[78])")


def test_two_pixels_are_a_character_of_two_colours() -> None:
    pixels = np.array([[[1, 2, 3], [1, 2, 3]], [[4, 5, 6], [7, 8, 9]]], np.uint8)
    assert half_blocks(pixels) == ["\x1b[38;2;1;2;3;48;2;4;5;6m▀\x1b[38;2;1;2;3;48;2;7;8;9m▀\x1b[0m"]


@pytest.mark.parametrize(
    ("height", "width", "columns", "lines", "size"),
    [(96, 96, 80, 24, (48, 48)), (480, 832, 80, 40, (46, 80)), (16, 32, 80, 24, (16, 32)), (3, 900, 10, 10, (2, 10))],
)
def test_a_picture_fits_and_is_never_made_larger(
    height: int, width: int, columns: int, lines: int, size: tuple[int, int]
) -> None:
    assert fitted(np.zeros((height, width, 3), np.uint8), columns=columns, lines=lines).shape == (*size, 3)


def test_frames_are_shown_at_their_times_and_not_when_they_were_taken_back() -> None:
    out = io.StringIO()
    with TerminalScreen(out, columns=40, lines=20) as screen:
        screen.add(chunk_of("raw"))
        assert [screen.paint(position) for position in (0.0, 0.01, 0.07, 0.5)] == [True, False, True, True]
        screen.take_back(0.6)
        assert screen.paint(10.0, note="said")
        assert not screen.paint(None)
    text = out.getvalue()
    assert text.startswith("\x1b[?1049h")
    assert text.endswith("\x1b[?1049l")
    assert screen.painted == 4
    assert len(ESCAPE.sub("", text).replace("> ", "").replace("said", "")) == 4 * 32 * 8


def test_lines_are_read_until_the_text_ends() -> None:
    lines: list[str] = []
    read_lines(io.StringIO(" a boat \n\nsnow\n"), lines.append)
    while len(lines) < 2:
        os.sched_yield()
    assert lines == ["a boat", "snow"]


async def test_what_is_typed_is_done_or_answered() -> None:
    heard: list[ClientMessage] = []

    async def script(peer: Peer) -> None:
        await peer.start()
        for _ in range(6):
            heard.append(await peer.next())
            if isinstance(heard[-1], SessionControl):
                await peer.control(heard[-1])
        await peer.done(0)

    typed = io.StringIO("snow\n/cut a boat\n/pause\n/resume\n/rewind 1.5\n/rewind far\n/dance\n/stop\n")
    said: list[str] = []
    switches: list[Switch] = []
    async with fake_server(script) as server, connect(server.url) as session:
        await session.start("a red ball")
        working = asyncio.create_task(Typing(session, typed, said=said.append, on_switch=switches.append).run())
        assert [chunk async for chunk in session] == []
        working.cancel()
    prompts = [(p.prompt, p.mode) for p in heard if isinstance(p, SessionInteraction)]
    assert prompts == [("snow", "recache"), ("a boat", "cut")]
    assert [switch.prompt for switch in switches] == ["snow", "a boat"]
    assert [c.action for c in heard if isinstance(c, SessionControl)] == ["pause", "resume", "rewind"]
    assert isinstance(heard[-1], SessionStop)
    assert said[:5] == ["sent: snow", "a new scene: a boat", "paused; /resume goes on", "goes on", "back to 1.5 s"]
    assert said[5].startswith("not done: ")
    assert said[6] == HELP


async def test_stream_shows_the_picture_and_takes_what_is_typed() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        asked = await peer.next()
        assert isinstance(asked, SessionInteraction)
        await peer.chunk(1, started_event_ids=(asked.event_id,), event_ids=(asked.event_id,))
        await peer.done(2, "completed")

    async with fake_server(script) as server:
        words = ["stream", "-p", "a red ball", "--pacing", "none", "--show", "--json", "--url", server.url]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", *words, stdin=-1, stdout=-1, stderr=-1
        )
        async with asyncio.timeout(120):
            out, shown = await process.communicate(b"snow\n")
    assert process.returncode == 0, shown
    assert f'"frames": {2 * FRAMES}' in out.decode()
    assert '"prompt": "snow"' in out.decode()
    assert "▀" in shown.decode()
    assert shown.decode().endswith("\x1b[?1049l")
