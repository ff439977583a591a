"""`longtake download` and `longtake doctor` on a complete small release: from files at hand to a clean bill of health.

Every way in which a file can be wrong is seen by the doctor before anything is loaded, with the file and the tensor.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from models.presets import get_preset
from service.cli import app
from service.commands.options import OptionError
from service.errors import ConfigError
from tests.release import FILES, KEYS, NAME, RANK, Release, write_preset, write_release


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Files as the hub has them, and a folder of presets that names them."""
    return write_release(tmp_path_factory.mktemp("published"))


@pytest.fixture
def installed(published: Release, tmp_path: Path) -> Path:
    """A model folder into which the release was downloaded, beside the presets."""
    shutil.copytree(published.presets, tmp_path / "presets")
    assert run(tmp_path, "download", "--from", str(published.source), "--accept-licence").exit_code == 0
    return tmp_path


def run(folder: Path, command: str, *words: str, preset: str = NAME) -> Result:
    places = ("--model-dir", str(folder / "models"), "--preset-dir", str(folder / "presets"))
    return CliRunner().invoke(app, [command, preset, *places, *words])


def doctor(folder: Path, *words: str) -> tuple[int, dict[str, list[str]], str | None]:
    """Its exit code, what each check says, and which fails first."""
    result = run(folder, "doctor", "--device", "cpu", "--json", *words)
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["preset"] == NAME
    assert report["ok"] is (report["first_failure"] is None)
    said = {check["name"]: [check["verdict"], *check["details"]] for check in report["checks"]}
    return result.exit_code, said, report["first_failure"]


def test_files_at_hand_become_a_healthy_model(installed: Path) -> None:
    for name in FILES.values():
        assert (installed / "models" / name).is_file()
    code, said, first = doctor(installed)
    assert (code, first) == (0, None)
    assert list(said) == [
        *("preset", "device", "attention", "fast paths", "quantisation", "memory"),
        *("licence", "packages", "files", "sums", "shapes"),
        *("store", "room"),
    ]
    # Room is this machine's own affair.
    assert {name for name, (verdict, *_) in said.items() if verdict != "ok"} <= {"room"}
    assert said["shapes"][1:] == ["names and shapes are those of the preset"]
    code, said, first = doctor(installed, "--decoder", "full", "--quick")
    assert (code, first) == (0, None)
    assert said["sums"] == ["unknown", "not computed, as asked"]
    assert FILES["vae"] in said["files"]


def test_a_licence_is_shown_and_asked_for_before_anything_is_taken(published: Release, tmp_path: Path) -> None:
    shutil.copytree(published.presets, tmp_path / "presets")
    refused = run(tmp_path, "download", "--from", str(published.source))
    assert refused.exit_code == 1
    assert (
        "CC-BY-NC-SA-4.0, non-commercial use only: https://creativecommons.org/licenses/by-nc-sa/4.0/" in refused.stderr
    )
    assert getattr(refused.exception, "code", "") == "licence_not_accepted"
    assert not list((tmp_path / "models").glob("**/*.p*")) if (tmp_path / "models").exists() else True
    agreed = run(tmp_path, "download", "--from", str(published.source), "--accept-licence", "--json")
    files = json.loads(agreed.stdout)["files"]
    assert [(file["role"], file["outcome"]) for file in files] == [(role, "copied") for role in FILES]
    again = run(tmp_path, "download", "--offline", "--json")
    assert {file["outcome"] for file in json.loads(again.stdout)["files"]} == {"present"}


def test_what_is_missing_is_named_with_what_to_do(published: Release, tmp_path: Path) -> None:
    shutil.copytree(published.presets, tmp_path / "presets")
    code, said, first = doctor(tmp_path)
    assert (code, first) == (1, "licence")
    assert said["files"][0] == "fails"
    assert sum("found none" in line for line in said["files"]) == 5  # all but the other decoder's
    assert said["files"][-1] == f"what can be fetched, is: longtake download {NAME}"
    assert "shapes" not in said
    lost = run(tmp_path, "download", "--offline", "--accept-licence")
    assert getattr(lost.exception, "code", "") == "download_failed"
    assert "6 files are not in" in str(lost.exception)


def rewrite(path: Path, change: object) -> None:
    assert callable(change)
    loaded = torch.load(path, weights_only=True)
    torch.save(change(loaded), path)


def wide(loaded: dict[str, dict[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    return {KEYS["transformer"]: loaded["generator"] | {"model.head.head.bias": torch.zeros(65)}}


def short(loaded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(list(loaded.items())[1:])


@pytest.mark.parametrize(
    ("role", "change", "words"),
    [
        ("transformer", wide, ("longlive_base.pt", "model.head.head.bias: expected shape [64], found [65]")),
        ("lora", lambda loaded: {KEYS["lora"]: short(loaded[KEYS["lora"]])}, ("lora.pt", "both halves")),
        ("text_encoder", short, ("enc-bf16.pth", "missing ")),
        ("tiny_decoder", short, ("taew2_1.pth", "missing ")),
    ],
)
def test_files_of_another_shape_are_found_by_their_heads(
    installed: Path, role: str, change: object, words: tuple[str, ...]
) -> None:
    """With the sizes and sums of the changed file in the preset, so that only what is in it is wrong."""
    path = installed / "models" / FILES[role]
    rewrite(path, change)
    write_preset(installed / "presets", installed / "models")
    code, said, first = doctor(installed)
    assert (code, first) == (1, "shapes")
    assert any(all(word in line for word in words) for line in said["shapes"]), said["shapes"]


def test_a_flipped_bit_is_found_by_the_sum_and_fetched_anew(installed: Path, published: Release) -> None:
    path = installed / "models" / FILES["text_encoder"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, said, first = doctor(installed)
    assert (code, first) == (1, "sums")
    assert "enc-bf16.pth: damaged, or another file: expected sha256" in said["sums"][1]
    mended = run(installed, "download", "--from", str(published.source), "--json")
    outcomes = {file["role"]: file["outcome"] for file in json.loads(mended.stdout)["files"]}
    assert outcomes == {role: "copied" if role == "text_encoder" else "present" for role in FILES}
    assert doctor(installed)[0] == 0


def test_a_preset_that_names_no_transformer_is_found(installed: Path) -> None:
    place = installed / "presets" / f"{NAME}.toml"
    head, *files = place.read_text(encoding="utf-8").split("[[files]]")
    rest = [text for text in files if 'role = "transformer"' not in text and 'role = "lora"' not in text]
    bare = head.replace(f"[lora]\nrank = {RANK}\nalpha = {RANK}.0\n", "")
    place.write_text("[[files]]".join([bare, *rest]), encoding="utf-8")
    code, said, first = doctor(installed)
    assert (code, first) == (1, "shapes")
    assert "expected a file as transformer, it names text_encoder, tokenizer, tiny_decoder" in said["shapes"][1]


def test_a_tokenizer_that_is_none_is_found(installed: Path) -> None:
    (installed / "models" / FILES["tokenizer"]).write_text("{}", encoding="utf-8")
    write_preset(installed / "presets", installed / "models")
    code, said, first = doctor(installed)
    assert (code, first) == (1, "shapes")
    assert "tokenizer.json" in said["shapes"][1]


def test_what_does_not_fit_this_machine_is_found_first(installed: Path) -> None:
    code, said, first = doctor(installed, "--memory-budget", "1000")
    assert (code, first) == (1, "memory")
    assert "1000 bytes of memory leave no room for a stream" in said["memory"][1]
    result = run(installed, "doctor", "--device", "cuda:99", "--json")
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["first_failure"] == "device"
    # Nothing is said of what only the device could tell; the files are looked at all the same.
    assert [check["name"] for check in report["checks"]] == [
        *("preset", "device", "licence", "packages", "files", "sums", "shapes"),
        *("store", "room", "gpu faults"),
    ]
    code, _, first = doctor(installed, "--attention", "xformers")
    assert (code, first) == (1, "attention")
    code, _, first = doctor(installed, "--decoder", "linear")
    assert (code, first) == (1, "preset")
    code, said, first = doctor(installed, "--quantize", "fp8")
    assert (code, first) == (1, "quantisation")


def test_adapters_of_the_settings_are_looked_at(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = installed / "models" / FILES["lora"]
    monkeypatch.setenv("LONGTAKE_ADAPTERS", f"style={path}:0.5")
    code, said, first = doctor(installed, "--quick")
    assert (code, first) == (0, None)
    assert said["adapters"][1].startswith("style: 20 layers")
    monkeypatch.setenv("LONGTAKE_ADAPTERS", f"style={installed}/none.pt")
    code, said, first = doctor(installed, "--quick")
    assert (code, first) == (1, "adapters")
    assert "none.pt: expected a file of weights, found none" in said["adapters"][1]


def test_packages_that_are_missing_are_named_with_the_extra(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ftfy" else found(name))
    code, said, first = doctor(installed, "--quick")
    assert (code, first) == (1, "packages")
    assert "expected the packages ftfy (extra `checkpoints`" in said["packages"][1]
    assert said["files"][0] == "ok"
    assert "shapes" not in said  # what reads them is not here


def test_options_that_cannot_be_are_refused(installed: Path) -> None:
    for words, field in ((("--attention", "best"), "attention"), (("--decoder", "huge"), "decoder")):
        error = run(installed, "doctor", *words).exception
        assert isinstance(error, ConfigError)
        assert f"setting {field} is" in str(error)
    error = run(installed, "download", "--from", str(installed / "nowhere")).exception
    assert isinstance(error, OptionError)
    assert (error.code, error.field) == ("folder_missing", "from")
    assert "expected a model out of demo" in str(run(installed, "doctor", preset="none").exception)


def test_the_demo_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    said = run(tmp_path, "download", preset="demo")
    assert (said.exit_code, "nothing to fetch" in said.stderr) == (0, True)
    result = run(tmp_path, "doctor", preset="demo")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "nothing would fail"
    assert get_preset("demo").weights is not None
