"""Fragments and films in a real browser: each block is on screen without the next, and a film has exactly its frames.

The frames have their number in them, as bright and dark squares, or the marks of the service's test mode, so that what
is on screen can be read.
"""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright

from client.chunk import Chunk
from client.video import VideoWriter
from service.media import Chapter, FilmNotes, Mark, encode_fragment, init_segment, read_mark, remux
from tests.e2e.pages import CHROMIUM, FLAGS, SETTINGS
from tests.e2e.test_fragments import take
from tests.service.media.blocks import BLOCKS, FPS, HEIGHT, WIDTH, file_of_fragments, fragments, init, numbered
from tests.serving import running_service

pytestmark = pytest.mark.system

LIMIT = 60_000
CODEC = init_segment(width=WIDTH, height=HEIGHT, fps=FPS).mime

READ = """
const video = document.querySelector("video");
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const heard = (target, name) => new Promise((done, failed) => {
  target.addEventListener(name, done, { once: true });
  video.addEventListener("error", () => failed(new Error(video.error?.message ?? "error")), { once: true });
});
const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 64 });
const pencil = canvas.getContext("2d", { willReadFrequently: true });
const show = async (second) => {
  const shown = new Promise((done) => video.requestVideoFrameCallback((_now, frame) => done(frame.mediaTime)));
  video.currentTime = second;
  const mediaTime = await shown;
  pencil.drawImage(video, 0, 0);
  return mediaTime;
};
window.pixelsAt = async (second) => [await show(second), [...pencil.getImageData(0, 0, 96, 16).data]];
window.numberAt = async (second) => {
  const mediaTime = await show(second);
  let number = 0;
  for (let bit = 0; bit < 8; bit += 1) {
    if (pencil.getImageData(13 + 10 * bit, 32, 1, 1).data[1] > 128) number |= 1 << bit;
  }
  return [number, mediaTime];
};
window.open_ = async (codec) => {
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await heard(source, "sourceopen");
  window.buffer = source.addSourceBuffer(codec);
};
window.append = async (text) => {
  buffer.appendBuffer(bytes(text));
  await heard(buffer, "updateend");
  return buffer.buffered.length ? [buffer.buffered.length, buffer.buffered.end(0)] : [0, 0];
};
window.load = async (text) => {
  video.src = URL.createObjectURL(new Blob([bytes(text)], { type: "video/mp4" }));
  await heard(video, "loadeddata");
  return video.duration;
};
window.play = async () => {
  video.playbackRate = 1;
  await video.play();
  await heard(video, "ended");
  return video.getVideoPlaybackQuality().totalVideoFrames;
};
"""


@pytest.fixture(name="page")
def _page() -> Iterator[Page]:
    """A page with a video and nothing else; anything that it complains of is a failure."""
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page()
        page.set_default_timeout(LIMIT)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.set_content("<video muted width=96 height=64></video>")
        page.add_script_tag(content=READ)
        yield page
        browser.close()
    assert said == []


def call(page: Page, name: str, argument: object = None) -> Any:
    return page.evaluate(f"async (argument) => {name}(argument)", argument)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def middle(frame: int) -> float:
    return (frame + 0.5) / FPS


def test_every_block_is_on_screen_without_the_next(page: Page) -> None:
    call(page, "open_", CODEC)
    call(page, "append", text(init()))
    first = 0
    for count, fragment in zip(BLOCKS, fragments(), strict=True):
        ranges, end = call(page, "append", text(fragment))
        assert (ranges, round(end * FPS, 3)) == (1, first + count)
        for frame in {first, first + count - 1}:
            number, at = call(page, "numberAt", middle(frame))
            assert (number, round(at * FPS, 3)) == (frame, frame)
        first += count


@pytest.fixture(scope="module", name="streamed")
def _streamed() -> list[Chunk]:
    """A take as the real service sends it."""
    with running_service(*SETTINGS) as address:
        return asyncio.run(take(address, "m4s"))


def test_what_the_service_streams_is_on_screen_block_by_block(streamed: list[Chunk], page: Page) -> None:
    call(page, "open_", init_segment(width=96, height=96, fps=16).mime)
    call(page, "append", text(streamed[0].init))
    first = 0
    for chunk in streamed:
        ranges, end = call(page, "append", text(chunk.payload))
        assert (ranges, round(end * 16, 3)) == (1, first + chunk.num_frames)
        for place in (0, chunk.num_frames - 1):
            at, pixels = call(page, "pixelsAt", (first + place + 0.5) / 16)
            assert round(at * 16, 3) == first + place
            seen = np.array(pixels, np.uint8).reshape(16, 96, 4)[..., :3]
            assert read_mark(seen) == Mark(chunk.sequence, place)
        first += chunk.num_frames


def test_a_block_that_was_made_again_takes_the_place_of_what_it_was(page: Page) -> None:
    call(page, "open_", CODEC)
    call(page, "append", text(init()))
    made = fragments([12, 12])
    again = encode_fragment(numbered(100, 12), first=12, fps=FPS, quality=40, number=2)[1]
    for fragment in (*made, again):
        ranges, end = call(page, "append", text(fragment))
    assert (ranges, end) == (1, 24 / FPS)
    assert call(page, "numberAt", middle(5))[0] == 5
    assert call(page, "numberAt", middle(14))[0] == 102


@pytest.mark.parametrize("kind", ["job", "recording"])
def test_a_film_plays_with_exactly_its_frames(page: Page, tmp_path: Path, kind: str) -> None:
    out, frames = tmp_path / "film.mp4", sum(BLOCKS)
    if kind == "job":
        notes = FilmNotes("generated by Longtake", (Chapter(0.0, "a red ball"), Chapter(9 / FPS, "snow")))
        remux(file_of_fragments(tmp_path / "job.m4s"), out, frames=frames, fps=FPS, notes=notes)
    else:
        with VideoWriter(out, width=WIDTH, height=HEIGHT, fps=FPS, comment="generated by Longtake") as writer:
            for number in range(frames):
                writer.chapter("a red ball" if number < 9 else "snow")
                writer.append(numbered(number, 1))
    assert call(page, "load", text(out.read_bytes())) == pytest.approx(frames / FPS, abs=1e-6)
    for frame in (0, 8, 9, 20, 33, frames - 1):
        number, at = call(page, "numberAt", middle(frame))
        assert (number, round(at * FPS, 3)) == (frame, frame)


def test_a_film_plays_to_its_end(page: Page, tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    remux(file_of_fragments(tmp_path / "job.m4s"), out, frames=sum(BLOCKS), fps=FPS)
    call(page, "load", text(out.read_bytes()))
    assert call(page, "play") == sum(BLOCKS)
