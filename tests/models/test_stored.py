"""A release of files becomes an engine: every decoder, every placement, and what is refused before anything is made."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.adapters import AdapterSource
from models.download import FetchOptions, fetch_preset
from models.errors import ConfigError, PresetError, WeightsError
from models.generator import Generator
from models.licences import accept
from models.load import LoadOptions, build_generator, load_engine, plan_loading
from models.presets import Decoder, Preset, get_preset
from models.umt5 import TextPlacement
from models.verify import verify
from models.wan_vae import WanVae
from tests.models.engines import make_blocks, prompts
from tests.release import NAME, Release, write_release


@pytest.fixture(scope="module", name="release")
def _release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module", name="options")
def _options(release: Release, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
    """The release downloaded and its licence agreed to."""
    model_dir = tmp_path_factory.mktemp("models")
    preset = get_preset(NAME, preset_dir=release.presets)
    accept(preset.licence, model_dir)
    fetched = list(
        fetch_preset(preset, model_dir, options=FetchOptions(source=release.source), progress=lambda _: None)
    )
    assert len(fetched) == 6
    return LoadOptions(model_dir=model_dir, preset_dir=release.presets)


def hashes(generator: Generator, count: int = 3) -> list[str]:
    stream = generator.start(prompts("a red ball in the sea"), seed=1)
    return [block.frames_sha256 for block in make_blocks(generator, stream, count)]


@pytest.mark.parametrize("decoder", ["tiny", "full"])
def test_all_files_become_an_engine_that_computes_what_it_should(options: LoadOptions, decoder: Decoder) -> None:
    said: list[str] = []
    generator = load_engine(NAME, replace(options, decoder=decoder, report=said.append))
    assert isinstance(generator.parts.decoder, WanVae) is (decoder == "full")
    assert [line for line in said if line.startswith("budget")]
    assert "transformer: 100 % of 0.00 GiB read" in said
    assert len(set(hashes(generator))) == 3
    findings = list(verify(generator, blocks=6))
    assert len(findings) == 7
    assert [finding for finding in findings if not finding.passed] == []


def test_the_plan_is_what_is_loaded(options: LoadOptions) -> None:
    """Reckoned before, it equals to the byte what an engine and a stream then hold."""
    decoders: tuple[Decoder, ...] = ("tiny", "full")
    for decoder in decoders:
        chosen = replace(options, decoder=decoder, memory_budget_bytes=10**9)
        plan = plan_loading(get_preset(NAME, preset_dir=options.preset_dir), chosen)
        generator = load_engine(NAME, chosen)
        stream = generator.start(prompts("a red ball"), seed=1)
        make_blocks(generator, stream, 4)
        assert replace(generator.plan_memory(stream, budget_bytes=10**9), host_bytes=0) == replace(plan, host_bytes=0)


def test_placements_make_the_same_frames(options: LoadOptions) -> None:
    placements: tuple[TextPlacement, ...] = ("device", "cpu", "offload")
    engines = [load_engine(NAME, replace(options, placement=placement)) for placement in placements]
    assert len({tuple(hashes(engine, 2)) for engine in engines}) == 1


def test_the_fingerprint_is_of_the_files_that_are_used(options: LoadOptions) -> None:
    first = load_engine(NAME, options).facts().fingerprint
    assert load_engine(NAME, options).facts().fingerprint == first
    assert load_engine(NAME, replace(options, decoder="full")).facts().fingerprint != first


def test_a_licence_has_to_be_agreed_to_first(release: Release, tmp_path: Path) -> None:
    with pytest.raises(PresetError) as refused:
        load_engine(NAME, LoadOptions(model_dir=tmp_path, preset_dir=release.presets))
    assert refused.value.code == "licence_not_accepted"


def test_the_file_of_an_unused_decoder_need_not_be_there(options: LoadOptions) -> None:
    preset = get_preset(NAME, preset_dir=options.preset_dir)
    without = replace(preset, files=tuple(file for file in preset.files if file.role != "vae"))
    assert len(hashes(build_generator(without, options), 1)) == 1
    with pytest.raises(PresetError, match="expected a file as vae"):
        build_generator(without, replace(options, decoder="full"))


def test_a_damaged_file_is_refused_by_name(options: LoadOptions, release: Release, tmp_path: Path) -> None:
    preset = get_preset(NAME, preset_dir=release.presets)
    accept(preset.licence, tmp_path)
    list(fetch_preset(preset, tmp_path, options=FetchOptions(source=release.source), progress=lambda _: None))
    for file in preset.files:
        if file.role == "vae":
            continue
        path = file.location(tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])
        with pytest.raises(WeightsError, match=path.name):
            load_engine(NAME, LoadOptions(model_dir=tmp_path, preset_dir=release.presets))
        path.write_bytes(content)


def test_what_does_not_fit_is_refused_before_a_file_is_read(options: LoadOptions, tmp_path: Path) -> None:
    """With the arithmetic, and without the folder ever being looked into."""
    with pytest.raises(ConfigError, match=r"1000 bytes of memory .* weights \d+, text encoder \d+, decoder \d+"):
        load_engine(NAME, replace(options, memory_budget_bytes=1000, model_dir=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"decoder": "linear"}, "decoder"),
        ({"quantize": "fp8"}, "quantize"),
        ({"quantize": "int3"}, "quantize"),
        ({"device": "abacus"}, "device"),
        ({"kernel": "cudnn"}, "attention"),
        ({"adapters": (AdapterSource("a", Path("x")), AdapterSource("a", Path("y")))}, "adapters"),
    ],
)
def test_wrong_options_are_named(options: LoadOptions, changed: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_engine(NAME, replace(options, **changed))  # type: ignore[arg-type]
    assert refused.value.field == field


def test_random_weights_have_the_real_layout(release: Release) -> None:
    """Text encoder and decoder too; no file is read."""
    preset: Preset = get_preset(NAME, preset_dir=release.presets)
    preset = replace(preset, umt5=replace(preset.umt5, vocabulary=300) if preset.umt5 else None)
    one, other = (build_generator(preset, LoadOptions(random_seed=3)) for _ in range(2))
    made = hashes(one, 2)
    assert len(set(made)) == 2
    assert made == hashes(other, 2)
    embedding = one.parts.encode("a red ball")
    letters = len("a red ball") + 1  # and the end mark
    assert embedding.shape == (32, 16)
    assert embedding[:letters].abs().min() > 0
    assert not embedding[letters:].any()
