"""Rendering a session again: the same frames where it only decodes, a new take where it is made anew."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.generator import Generator
from models.vae import frames_sha256
from service.commands.options import OptionError, RenderOptions
from service.commands.render import decoded, even_steps, made_anew, rendering_of
from service.commands.stored import StoredLatents
from service.store.store import SessionStore
from tests.models.engines import make_generator
from tests.service.commands.directing import Director, document_of

ENGINE = make_generator()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    opened = SessionStore(tmp_path / "store")
    yield opened
    opened.close()


async def directed(store: SessionStore, engine: Generator = ENGINE) -> list[str]:
    """Three blocks, back to block 1, two more: the hashes of the video as it stands."""
    director = await Director.begin(engine, store, session="s0", text="a red ball")
    await director.step()
    director.prompt("blue sea")
    await director.step()
    await director.step()
    await director.rewind(1)
    await director.step()
    await director.step()
    blocks = director.blocks
    return [blocks[number].frames_sha256 for number in (0, 3, 4)]


def options(**fields: object) -> RenderOptions:
    return RenderOptions(session="s0", out=Path("out.mp4"), **fields)  # type: ignore[arg-type]


async def test_decoding_again_and_making_again_with_nothing_changed_give_the_same_take(store: SessionStore) -> None:
    hashes = await directed(store)
    document, stored = await document_of(store, "s0"), StoredLatents(store.folder, "s0")
    rendering = rendering_of(ENGINE.preset, document, options=options())
    assert (rendering.take, rendering.preset) == ("same", ENGINE.preset)
    assert [frames_sha256(frames) for frames in decoded(ENGINE, document, stored=stored)] == hashes
    assert [frames_sha256(frames) for frames in made_anew(ENGINE, document, stored=stored)] == hashes


async def test_other_steps_or_another_size_are_a_new_take_and_say_so(store: SessionStore) -> None:
    hashes = await directed(store)
    document, stored = await document_of(store, "s0"), StoredLatents(store.folder, "s0")
    width, height = document.record.width, document.record.height
    steps = len(ENGINE.preset.sampler.steps)
    asked = rendering_of(ENGINE.preset, document, options=options(width=2 * width, steps=steps + 1))
    assert asked.take == "new"
    assert asked.changed == (f"size: {width}x{height} -> {2 * width}x{height}", f"steps: {steps} -> {steps + 1}")
    assert (asked.preset.video.width, len(asked.preset.sampler.steps)) == (2 * width, steps + 1)
    same = rendering_of(ENGINE.preset, document, options=options(width=width, steps=steps))
    assert same.preset == ENGINE.preset
    other = make_generator()
    other.preset = replace(other.preset, sampler=replace(other.preset.sampler, steps=even_steps(1)))
    made = [frames_sha256(frames) for frames in made_anew(other, document, stored=stored)]
    assert len(made) == len(hashes)


def test_steps_fall_evenly_and_have_bounds() -> None:
    assert even_steps(4) == (1000, 750, 500, 250)
    assert even_steps(1) == (1000,)
    assert even_steps(3)[0] == 1000
    for count in (0, -1, 1001):
        with pytest.raises(OptionError) as caught:
            even_steps(count)
        assert (caught.value.field, caught.value.code) == ("steps", "field_range")
