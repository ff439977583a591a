"""Presets as files: what is written is what is served, a folder of one's own adds to it, and what is wrong is named.

Every refusal is held to name the file, the key, what was expected and what was found. No weights are opened.
"""

import re
from pathlib import Path

import pytest

from models.config import Umt5Config, WanVaeConfig
from models.errors import ConfigError, PresetError
from models.presets import (
    DEMO,
    LONGLIVE_1_3B,
    PRESETS,
    SELF_FORCING_1_3B,
    WAN_14B,
    ModelFile,
    get_preset,
    list_presets,
)

SMALL = """
extends = "wan2.1-1.3b"
name = "mine"
title = "My own checkpoint"
[licence]
name = "MIT"
url = "https://example.org/licence"
commercial = true
[[files]]
role = "transformer"
path = "mine.pt"
"""


def written(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_file_adds_a_checkpoint(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    presets = list_presets(tmp_path)
    assert presets[:-1] == PRESETS
    mine = get_preset("mine", preset_dir=tmp_path)
    assert mine == presets[-1]
    assert mine.available
    assert (mine.transformer, mine.window, mine.video) == (
        LONGLIVE_1_3B.transformer,
        LONGLIVE_1_3B.window,
        LONGLIVE_1_3B.video,
    )
    assert mine.lora is None
    assert mine.require_file("transformer").location(Path("models")) == Path("models/mine.pt")
    assert mine.require_file("vae") == LONGLIVE_1_3B.require_file("vae")


def test_the_readmes_example_is_a_preset(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "models" / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    written(tmp_path, example)
    mine = get_preset("mine", preset_dir=tmp_path)
    assert mine.require_file("transformer").name == "someone/video/mine.safetensors"


def test_a_file_takes_the_place_of_the_one_with_its_role_and_parts_are_added(tmp_path: Path) -> None:
    more = SMALL.replace('extends = "wan2.1-1.3b"', 'extends = "longlive-1.3b"')
    more += '[[files]]\nrole = "part"\npath = "one"\n[[files]]\nrole = "part"\npath = "two"\n'
    written(tmp_path, more)
    mine = get_preset("mine", preset_dir=tmp_path)
    assert [file.role for file in mine.files].count("transformer") == 1
    assert [file.path for file in mine.files if file.role == "part"] == ["one", "two"]
    assert mine.lora == LONGLIVE_1_3B.lora  # what it extends, it has, unless it says otherwise
    assert mine.licence.name == "MIT"


def test_presets_may_extend_each_other_and_reasons_are_not_handed_on(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    written(tmp_path, 'extends = "mine"\nname = "wide"\ntitle = "t"\n[video]\nwidth = 1024\n', "wide")
    written(tmp_path, 'extends = "wan-14b"\nname = "big"\ntitle = "t"\n', "big")
    wide = get_preset("wide", preset_dir=tmp_path)
    assert (wide.width, wide.height, wide.licence.name) == (1024, 480, "MIT")
    assert get_preset("big", preset_dir=tmp_path).available
    assert not WAN_14B.available


def test_the_published_presets_name_their_files() -> None:
    for preset in (LONGLIVE_1_3B, SELF_FORCING_1_3B):
        assert preset.umt5 == Umt5Config()
        assert preset.vae == WanVaeConfig()
        for role in ("transformer", "text_encoder", "tokenizer", "vae", "tiny_decoder"):
            file = preset.require_file(role)
            assert file.fetched
            assert file.revision
        assert all(file.sha256 and file.size for file in preset.files)
    assert LONGLIVE_1_3B.lora is not None
    assert (LONGLIVE_1_3B.lora.rank, LONGLIVE_1_3B.lora.alpha) == (256, 256.0)
    assert SELF_FORCING_1_3B.file("lora") is None
    # The sums that the checkpoints are known by begin and end like this (longlive-spec 1.6).
    sums = [LONGLIVE_1_3B.require_file(role).sha256 or "" for role in ("transformer", "lora")]
    assert [(digest[:8], digest[-5:]) for digest in sums] == [("10a2aa8f", "08ee7"), ("c4e43b87", "bc07a")]
    assert DEMO.files == ()
    with pytest.raises(PresetError, match="model demo: expected a file as transformer, it names no files"):
        DEMO.require_file("transformer")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title =", "titel ="), "unknown key titel; expected one of .*title"),
        (('title = "My own checkpoint"', ""), "expected a value for title, there is none"),
        (('title = "My own checkpoint"', "title = 3"), "expected a text as title, got 3"),
        (("commercial = true", 'commercial = "yes"'), "expected true or false as licence.commercial, got 'yes'"),
        (("commercial = true", "commercial = 1"), "expected true or false as licence.commercial, got 1"),
        (('extends = "wan2.1-1.3b"', ""), r"expected a table \[transformer\], there is none"),
        (('extends = "wan2.1-1.3b"', 'extends = "wan"'), "expected one of .*wan2.1-1.3b as extends, got 'wan'"),
        (('extends = "wan2.1-1.3b"', 'extends = "mine"'), "expected another preset than itself as extends, got 'mine'"),
        (('extends = "wan2.1-1.3b"', "extends = 3"), "expected a name as extends, got 3"),
        (('extends = "wan2.1-1.3b"', 'extends = "wan2.1-1.3b"\nabstract = 1'), "expected true or false as abstract"),
        (('name = "mine"', 'name = "yours"'), "expected the name of its file, 'mine', as name, got 'yours'"),
        (('role = "transformer"', 'role = "body"'), r"expected one of transformer, .* as files\[4\].role, got 'body'"),
        (('path = "mine.pt"', 'path = "../mine.pt"'), r"files\[4\].path must be a path that stays inside its folder"),
        (('path = "mine.pt"', 'path = "mine.pt"\nsha256 = "12"'), r"files\[4\].sha256 must be 64 hexadecimal digits"),
        (('path = "mine.pt"', 'path = "mine.pt"\nrepository = "a"'), r"files\[4\].repository must be OWNER/NAME"),
        (('path = "mine.pt"', 'path = "mine.pt"\nurl = "ftp://a/b"'), r"files\[4\].url must be an https address"),
        (('path = "mine.pt"', 'path = "mine.pt"\nsize = 0'), r"files\[4\].size must be a positive number of bytes"),
        (
            ("[[files]]", "[window]\nsink_frames = 6\n[[files]]"),
            r"window.sink_frames must be 0..3 \(one block\), not 6",
        ),
        (("[[files]]", "[sampler]\nsteps = [1000, 2.5]\n[[files]]"), r"whole number as sampler.steps\[1\], got 2.5"),
        (("[[files]]", "[sampler]\nsteps = 4\n[[files]]"), "expected a list as sampler.steps, got 4"),
        (("[[files]]", "[transformer]\npatch_size = [1, 2]\n[[files]]"), "a list of 3 as transformer.patch_size"),
        (("[[files]]", "[transformer]\ndim = 99999999999999999999\n[[files]]"), "a whole number as transformer.dim"),
        (("[[files]]", "[transformer]\nnum_heads = 7\n[[files]]"), "transformer.num_heads must be a divisor"),
        (("[[files]]", "[transformer]\ntext_dim = 7\n[[files]]"), r"preset mine: expected umt5 of sizes \(7,\)"),
        (
            ("[[files]]", "[lora]\nrank = 4\nalpha = 4\n[[files]]"),
            "a file and sizes of a lora together, got only sizes",
        ),
        (("[[files]]", "[vae]\nz_dim = 8\n[[files]]"), "mean must be 8 numbers"),
        (("[licence]", "licence = 3\n[other]"), "expected a table as licence, got 3"),
        (("[licence]", "licence = ["), "expected TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = written(tmp_path, SMALL.replace(*change))
    with pytest.raises(PresetError, match=message) as caught:
        list_presets(tmp_path)
    assert str(path) in str(caught.value)
    assert caught.value.code == "model_unknown"
    assert caught.value.field


def test_two_files_of_one_role_are_refused(tmp_path: Path) -> None:
    written(tmp_path, SMALL + '[[files]]\nrole = "transformer"\npath = "other.pt"\n')
    with pytest.raises(PresetError, match="expected one file as transformer, got more"):
        list_presets(tmp_path)


def test_files_that_cannot_be_read_and_names_that_are_taken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="expected a folder of presets"):
        list_presets(tmp_path / "nowhere")
    path = tmp_path / "mine.toml"
    path.mkdir()
    with pytest.raises(PresetError, match=r"mine\.toml: expected a preset, it cannot be read"):
        list_presets(tmp_path)
    path.rmdir()
    path.write_bytes(b"\xff")
    with pytest.raises(PresetError, match=r"mine\.toml: expected TOML"):
        list_presets(tmp_path)
    path.unlink()
    written(tmp_path, SMALL, "demo")
    with pytest.raises(PresetError, match=r"demo\.toml: expected a name that is not taken, demo is"):
        get_preset("longlive-1.3b", preset_dir=tmp_path)


def test_presets_that_extend_each_other_in_a_ring_are_refused(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        written(tmp_path, SMALL.replace("wan2.1-1.3b", other).replace('"mine"', f'"{one}"'), one)
    with pytest.raises(PresetError, match="expected another preset than itself as extends"):
        list_presets(tmp_path)


def test_a_file_of_the_hub_stays_in_its_folder() -> None:
    file = ModelFile(role="vae", repository="a/b", path="c/d.pth")
    assert file.location(Path("models")) == Path("models/a/b/c/d.pth")
    assert file.name == "a/b/c/d.pth"
    own = ModelFile(role="vae", path="/elsewhere/d.pth")
    assert (own.location(Path("models")), own.fetched) == (Path("/elsewhere/d.pth"), False)
    for repository, path in (("a/b", "/c"), ("../b", "c"), ("a/b", "")):
        with pytest.raises(ConfigError):
            ModelFile(role="vae", repository=repository, path=path)
