"""Sessions from a real store, made again by a real (small) engine: equal, chunk by chunk, or it says where and why."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from client.recording import TakeFiles
from models.generator import Generator
from service.commands.replay import ReplayReport, replay
from service.commands.stored import StoredLatents, chunks_of_cut
from service.latent_files import latent_path
from service.store.document import SessionDocument
from service.store.store import SessionStore
from tests.bench.replays import KINDS, Move, check
from tests.models.engines import make_generator
from tests.service.commands.directing import Director, document_of

ENGINE = make_generator()


def replayed(document: SessionDocument, folder: Path | None = None, *, engine: Generator = ENGINE) -> ReplayReport:
    return replay(engine, document, stored=StoredLatents(folder, document.record.id), files=TakeFiles(), shown=())


MOVES = st.tuples(st.sampled_from(KINDS), st.integers(0, 7), st.integers(0, 3))


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(MOVES, max_size=14))
def test_any_session_replays_to_equal_frames_and_leaves_nothing(moves: list[Move]) -> None:
    """Long: `python -m tests.bench.replays`."""
    with tempfile.TemporaryDirectory() as folder:
        _, chunks, unequal = asyncio.run(check(ENGINE, Path(folder), moves))
        assert (chunks >= 2, unequal) == (True, 0)
        assert list((Path(folder) / "latents").iterdir()) == []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    opened = SessionStore(tmp_path / "store")
    yield opened
    opened.close()


async def directed(store: SessionStore) -> Director:
    """Six blocks with a prompt, then back to the third."""
    director = await Director.begin(ENGINE, store, session="s0", text="a red ball")
    for number in range(6):
        if number == 3:
            director.prompt("blue sea")
        await director.step()
    await director.rewind(2)
    await director.step()
    return director


async def test_a_fork_shares_its_history_and_differs_after(store: SessionStore) -> None:
    director = await directed(store)
    other, same = await director.fork("s1", block=1), await director.fork("s2", block=1, same_noise=True)
    for each in (director, other, same):
        await each.step()
        await each.step()
    course = {name: (await document_of(store, name)).course for name in ("s0", "s1", "s2")}
    hashes = {name: [chunk.frames_sha256 for chunk in chunks] for name, chunks in course.items()}
    assert hashes["s1"][0] == hashes["s2"][0] == hashes["s0"][0]
    assert hashes["s2"][1] == hashes["s0"][1], "the same noise makes the same picture"
    assert hashes["s1"][1] != hashes["s0"][1]
    assert hashes["s1"][2] != hashes["s0"][2]


async def test_frames_that_differ_are_named(store: SessionStore) -> None:
    await directed(store)
    document = (await document_of(store, "s0")).to_object()
    chunks = document["chunks"]
    assert isinstance(chunks, list)
    for number in (1, 2, 5):
        chunks[number]["frames_sha256"] = "0" * 64
    report = replayed(SessionDocument.from_json(json.dumps(document)))
    assert (report.equal, report.different, report.exact) == (4, (1, 2, 5), False)
    assert report.sentences()[1] == "different: chunks 1-2, 5"


async def test_other_numerics_are_not_compared(store: SessionStore) -> None:
    await directed(store)
    document = (await document_of(store, "s0")).to_object()
    session = document["session"]
    assert isinstance(session, dict)
    session["fingerprint"] = "elsewhere"
    report = replayed(SessionDocument.from_json(json.dumps(document)))
    assert (report.equal, report.different, report.other_numerics) == (0, (), (0, 1, 2, 3, 4, 5, 6))
    assert not report.exact
    assert "the session's numerics are elsewhere, this engine's test" in report.sentences()[1]


async def test_what_follows_other_numerics_comes_from_the_stores_latents(store: SessionStore) -> None:
    """Chunks 2 and 3 were made elsewhere: the rest is equal with their latents, and not made without them."""
    fork = await (await directed(store)).fork("s1", block=2, same_noise=True)
    for engine, fingerprint, blocks in ((make_generator(seed=2), "elsewhere", 2), (ENGINE, "test", 1)):
        fork.engine = engine
        await fork.park()
        await store.append_note("s1", json.dumps({"type": "numerics_changed", "fingerprint": fingerprint}))
        for _ in range(blocks):
            await fork.step()
    document = await document_of(store, "s1")
    report = replayed(document, store.folder)
    assert (report.equal, report.other_numerics, report.different) == (3, (2, 3), ())
    latent_path(store.folder, "s1", sequence=3).unlink()
    report = replayed(document, store.folder)
    assert (report.equal, report.other_numerics, report.latents_missing) == (2, (2, 3), (4,))
    assert report.sentences()[-1] == "not made, as latents they follow from are gone: chunks 4"


@pytest.mark.parametrize(("cut", "chunks"), [("final", 3), ("aired", 7)])
async def test_the_video_holds_the_cut_that_was_asked_for(
    store: SessionStore, tmp_path: Path, cut: str, chunks: int
) -> None:
    await directed(store)
    document = await document_of(store, "s0")
    shown = chunks_of_cut(document, "final" if cut == "final" else "aired")
    file = tmp_path / "out.mp4"
    replay(ENGINE, document, stored=StoredLatents(None, "s0"), files=TakeFiles(video=file), shown=shown)
    with av.open(str(file)) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert len(shown) == chunks
    assert frames == sum(chunk.frames for chunk in shown)
