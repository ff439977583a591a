"""Takes are filmed once, whatever happens in between, and are the same in one process and in several."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.generator import Generator
from models.train.eval.engines import Source, Variant, build_engine, even_steps, identity_of, vary
from models.train.eval.film import film
from models.train.eval.records import RecordFile
from models.train.eval.runner import Runner
from models.train.eval.takes import Change, Take, TakeRecord
from tests.models.train.eval.records import record

DEMO = Source(preset="demo")
PROMPT = "a red ball rests in the snow by day"
TAKE = Take(prompt=PROMPT, seed=3, blocks=2, read_every=6)
SWITCH = Take(
    prompt=PROMPT,
    later="a red ball rests in the snow at night",
    seed=3,
    blocks=2,
    after=1,
    changes=(Change(mode="cut"), Change(mode="recache", blend=2)),
    read_every=6,
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return build_engine(DEMO, Variant())


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Without detectors, whose calibration is another test's."""
    monkeypatch.setattr(Source, "draws_the_world", False)
    return Runner(DEMO, tmp_path)


def test_a_record_tells_of_every_frame(generator: Generator) -> None:
    (found,) = film(generator, TAKE, detectors=None)
    assert found.key == TAKE.key
    assert (found.starts, len(found.jumps), found.jumps[0]) == ((0, 12), 24, 0.0)
    assert found.read == found.scene == ()
    assert all(jump > 0 for jump in found.jumps[1:])
    assert len(found.sharpness) == len(found.drift) == 2


def test_changes_go_on_from_the_same_block(generator: Generator) -> None:
    cut, blend = film(generator, SWITCH, detectors=None)
    assert (cut.change, blend.change) == ("cut", "recache, blend of 2")
    assert cut.jumps[:12] == blend.jumps[:12]
    assert cut.jumps[12:] != blend.jumps[12:]
    assert len(cut.jumps) == len(blend.jumps) == 24


def test_int8_is_another_engine_with_smaller_weights(generator: Generator) -> None:
    int8 = build_engine(DEMO, Variant(quantize="int8"))
    assert int8.facts().fingerprint != generator.facts().fingerprint
    assert int8.facts().weight_bytes < 0.5 * generator.facts().weight_bytes
    (full,), (small,) = (film(engine, TAKE, detectors=None) for engine in (generator, int8))
    assert small.jumps != full.jumps
    assert abs(small.saturation[-1] - full.saturation[-1]) < 0.2 * full.saturation[-1]


def test_what_was_filmed_is_not_filmed_again(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runner.run([TAKE, SWITCH], title="a")
    monkeypatch.setattr("models.train.eval.runner.film", None)
    assert runner.run([SWITCH, TAKE, TAKE], title="b") == [first[1], first[0], first[0]]
    with pytest.raises(TypeError):
        runner.run([Take(prompt=PROMPT, seed=4, blocks=2)], title="c")


def test_four_even_steps_are_the_preset_s_own(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runner.run([TAKE], title="a")
    monkeypatch.setattr("models.train.eval.runner.film", None)
    assert runner.run([TAKE], variant=Variant(steps=4), title="b") == first
    with pytest.raises(TypeError):
        runner.run([TAKE], variant=Variant(steps=2), title="c")


def test_two_processes_make_what_one_makes(runner: Runner, tmp_path: Path) -> None:
    others = [Take(prompt=PROMPT, seed=seed, blocks=1) for seed in (1, 2)]
    alone = runner.run(others, title="alone")
    together = Runner(DEMO, tmp_path / "together", jobs=2).run(others, title="together")
    assert together == alone


def test_a_line_that_was_cut_short_is_filmed_again(tmp_path: Path) -> None:
    take, other = TAKE, Take(prompt=PROMPT, seed=9, blocks=2)
    file = RecordFile(tmp_path, "one")
    for each in (take, other):
        file.add([record_of(each)])
    whole = file.path.read_text()
    file.path.write_text(whole[:-40])
    again = RecordFile(tmp_path, "one")
    assert again.find(take) == [record_of(take)]
    assert again.find(other) is None
    again.add([record_of(other)])
    assert file.path.read_text() == whole


def test_another_engine_has_another_file(tmp_path: Path) -> None:
    RecordFile(tmp_path, "one").add([record_of(TAKE)])
    assert RecordFile(tmp_path, "two").find(TAKE) is None


def record_of(take: Take) -> TakeRecord:
    return replace(record(2), key=take.key)


def test_variants_change_what_they_say() -> None:
    preset = DEMO.resolve()
    assert vary(preset, Variant()) == preset
    other = vary(preset, Variant(window_frames=24, sink_frames=0, steps=2))
    assert (other.window.window_frames, other.window.sink_frames) == (24, 0)
    assert other.sampler.steps == (1000, 500)
    assert even_steps(4) == preset.sampler.steps
    assert Variant(window_frames=24, sink_frames=0).name == "window 24 sink 0"
    assert Variant().name == "as served"


def test_the_identity_is_of_what_decides(tmp_path: Path) -> None:
    def identity(source: Source = DEMO, variant: Variant | None = None) -> str:
        return identity_of(source, variant or Variant(), fingerprint="f")

    assert identity() == identity(variant=Variant(steps=4)) == identity(Source(preset="demo", weights=tmp_path / "w"))
    others = [Variant(steps=3), Variant(sink_frames=0), Variant(deaf=True)]
    assert (
        len({identity(), *(identity(variant=one) for one in others), identity(Source(preset="demo", shift=5.0))}) == 5
    )
