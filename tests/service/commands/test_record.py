"""A session's video from its latents: the very frames that were sent, of the cut that was asked for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client.recording import TakeFiles
from models.generator import Generator
from models.load import LoadOptions, build_generator
from models.lossy import Lossy
from models.vae import frames_sha256
from service.commands.record import chunk_reader, decode_runs, runs_of, scene_starts
from service.commands.replay import replay
from service.commands.stored import Cut, StoredLatents, chunks_of_cut
from service.latent_files import latent_path
from service.store.failures import LatentsMissing
from service.store.store import SessionStore
from tests.models.engines import make_generator, small_preset
from tests.service.commands.directing import Director, document_of

ENGINE = make_generator()
LAST_PASS = LoadOptions(random_seed=1, lossy=Lossy(reuse_last_pass=True))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    opened = SessionStore(tmp_path / "store")
    yield opened
    opened.close()


async def directed(store: SessionStore, engine: Generator = ENGINE) -> Director:
    """A scene, a cut at block 3, back to block 5 and what nobody saw taken back: all that moves a decoder."""
    director = await Director.begin(engine, store, session="s0", text="a red ball")
    for number in range(7):
        if number == 3:
            director.prompt("blue sea", mode="cut")
        await director.step()
    await director.rewind(5)
    await director.step()
    await director.step()
    await director.take_back(6)
    await director.step()
    return director


@pytest.mark.parametrize("engine", [ENGINE, build_generator(small_preset(), LAST_PASS)], ids=["plain", "last pass"])
@pytest.mark.parametrize("cut", ["final", "aired"])
async def test_the_frames_are_those_that_were_made(store: SessionStore, cut: Cut, engine: Generator) -> None:
    director = await directed(store, engine)
    document = await document_of(store, "s0")
    shown = {chunk.sequence for chunk in chunks_of_cut(document, cut)}
    read = chunk_reader(StoredLatents(store.folder, "s0"), frames=engine.preset.block_frames)
    decoded = {
        chunk.sequence: frames_sha256(frames)
        for chunk, frames in decode_runs(engine.parts.decoder, runs_of(document, cut), read=read)
    }
    made = {number: block.frames_sha256 for number, block in enumerate(director.blocks)}
    assert {number: decoded[number] for number in shown} == {number: made[number] for number in shown}
    # Chunk 8 was taken back unseen; of the final cut only what the rewind left.
    assert sorted(shown) == ([0, 1, 2, 3, 4, 7, 9] if cut == "final" else [0, 1, 2, 3, 4, 5, 6, 7, 9])


async def test_a_session_that_keeps_its_last_passes_replays_in_another_worker(store: SessionStore) -> None:
    """From the files of its store alone, its takes and what was taken back among them."""
    await directed(store, build_generator(small_preset(), LAST_PASS))
    other = build_generator(small_preset(), LAST_PASS)
    document = await document_of(store, "s0")
    found = replay(other, document, stored=StoredLatents(store.folder, "s0"), files=TakeFiles(), shown=())
    assert (found.equal, found.different, found.latents_missing) == (len(document.chunks), (), ())


async def test_latents_that_are_gone_are_named(store: SessionStore) -> None:
    await directed(store)
    latent_path(store.folder, "s0", sequence=2).unlink()
    document = await document_of(store, "s0")
    read = chunk_reader(StoredLatents(store.folder, "s0"), frames=ENGINE.preset.block_frames)
    with pytest.raises(LatentsMissing, match="chunk 2 of session s0"):
        list(decode_runs(ENGINE.parts.decoder, runs_of(document, "final"), read=read))


async def test_scenes_begin_at_cuts(store: SessionStore) -> None:
    await directed(store)
    run = runs_of(await document_of(store, "s0"), "final")[0]
    assert scene_starts(run.journal) == {0, 3}
