"""Files of a preset from a hub on this machine, from an address and from a folder: whole or refused, and resumed.

The hub's own client is used against a server that speaks as much of its protocol as it needs; no test leaves this
machine.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.download import FetchOptions, FileProgress, fetch_preset, find_in
from models.errors import PresetError
from models.licences import accept, accepted, require_accepted
from models.presets import LONGLIVE_1_3B, Licence, ModelFile, Preset
from models.sums import RECORD
from models.transport import FetchError, Patience
from tests.models.fake_hub import COMMIT, FakeHub, serve_hub

WEIGHTS, TINY = b"weights" * 40_000, b"tiny" * 30_000
FILES = {"some/model/weights.pt": WEIGHTS, "some/tiny/tiny.pth": TINY}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub(dict(FILES)) as hub:
        yield hub


def file_of(name: str, *, url: str | None = None) -> ModelFile:
    owner, repository, path = name.split("/")
    content = FILES[name]
    return ModelFile(
        role="transformer" if url is None else "tiny_decoder",
        repository=f"{owner}/{repository}",
        path=path,
        revision=COMMIT,
        url=url,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def preset_of(hub: FakeHub) -> Preset:
    weights = file_of("some/model/weights.pt")
    tiny = file_of("some/tiny/tiny.pth", url=f"{hub.url}/plain/some/tiny/tiny.pth")
    return replace(LONGLIVE_1_3B, files=(weights, tiny), lora=None)


def fetch(preset: Preset, model_dir: Path, hub: FakeHub, **options: object) -> list[str]:
    chosen = replace(FetchOptions(endpoint=hub.url, patience=Patience(attempts=2, wait=0)), **options)  # type: ignore[arg-type]
    return [fetched.outcome for fetched in fetch_preset(preset, model_dir, options=chosen, progress=ignore)]


def ignore(progress: FileProgress) -> None:
    assert progress.total_bytes is None or 0 < progress.done_bytes <= progress.total_bytes


def test_files_are_fetched_once_and_whole(tmp_path: Path, hub: FakeHub) -> None:
    preset = preset_of(hub)
    assert fetch(preset, tmp_path, hub) == ["downloaded", "downloaded"]
    assert (tmp_path / "some/model/weights.pt").read_bytes() == WEIGHTS
    assert (tmp_path / "some/tiny/tiny.pth").read_bytes() == TINY
    asked = len(hub.requests)
    assert fetch(preset, tmp_path, hub) == ["present", "present"]
    assert fetch(preset, tmp_path, hub, offline=True) == ["present", "present"]
    assert len(hub.requests) == asked


@pytest.mark.parametrize("which", [0, 1], ids=["hub", "address"])
def test_a_download_goes_on_where_it_was_broken_off(tmp_path: Path, hub: FakeHub, which: int) -> None:
    file = preset_of(hub).files[which]
    preset = replace(LONGLIVE_1_3B, files=(file,), lora=None)
    hub.cut = [50_000, 20_000, 0, 0]
    with pytest.raises(FetchError, match=rf"{file.name}: http.*: the line dropped after 70000 of"):
        fetch(preset, tmp_path, hub)
    assert fetch(preset, tmp_path, hub) == ["downloaded"]
    # Twice more with something gained, twice with nothing; then, in another attempt, the rest.
    assert hub.sent_ranges() == ["", "bytes=50000-", "bytes=70000-", "bytes=70000-", "bytes=70000-"]
    assert file.location(tmp_path).read_bytes() == FILES[file.name]
    assert [path.name for path in file.location(tmp_path).parent.iterdir()] == [file.path]


def test_a_token_goes_to_the_hub_alone(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.elsewhere = hub.url.replace("127.0.0.1", "localhost")
    preset = preset_of(hub)
    assert fetch(preset, tmp_path, hub) == ["downloaded", "downloaded"]
    told = {(method, "Bearer hf_secret" in authorization) for method, authorization in hub.authorizations}
    assert told == {("HEAD", True), ("GET", False)}
    hub.elsewhere = ""
    (tmp_path / "some/model/weights.pt").unlink()
    assert fetch(preset, tmp_path, hub) == ["downloaded", "present"]
    assert hub.authorizations[-1] == ("GET", "Bearer hf_secret")


def test_a_line_that_drops_is_tried_again(tmp_path: Path, hub: FakeHub) -> None:
    hub.cut = [10_000, 0, 10_000, 0, 10_000]
    assert fetch(preset_of(hub), tmp_path, hub) == ["downloaded", "downloaded"]
    assert hub.cut == []


def test_a_part_that_is_too_long_is_begun_anew(tmp_path: Path, hub: FakeHub) -> None:
    preset = preset_of(hub)
    part = tmp_path / "some/model/weights.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(WEIGHTS) + 1))
    assert fetch(preset, tmp_path, hub) == ["downloaded", "downloaded"]
    # One that has the right length and other values is found out by its sum, and is gone for the next attempt.
    (tmp_path / "some/model/weights.pt").unlink()
    part.write_bytes(bytes(len(WEIGHTS)))
    with pytest.raises(FetchError, match=r"some/model/weights\.pt: http.*: expected sha256"):
        fetch(preset, tmp_path, hub)
    assert fetch(preset, tmp_path, hub) == ["downloaded", "present"]


def test_a_file_without_a_sum_of_its_own_has_the_hubs(tmp_path: Path, hub: FakeHub) -> None:
    file = replace(preset_of(hub).files[0], sha256=None, size=None)
    preset = replace(LONGLIVE_1_3B, files=(file,), lora=None)
    part = tmp_path / "some/model/weights.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    with pytest.raises(FetchError, match="expected sha256"):
        fetch(preset, tmp_path, hub)
    assert fetch(preset, tmp_path, hub) == ["downloaded"]


def test_what_the_hub_sends_must_have_the_sum(tmp_path: Path, hub: FakeHub) -> None:
    preset = preset_of(hub)
    hub.files["some/tiny/tiny.pth"] = b"tinz" * 30_000
    with pytest.raises(FetchError, match=r"some/tiny/tiny\.pth: http://127.*: expected sha256"):
        fetch(preset, tmp_path, hub)
    assert not any((tmp_path / "some/tiny").iterdir())
    assert (tmp_path / "some/model/weights.pt").exists()


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"x" + c[1:]], ids=["short", "flipped"])
def test_what_is_damaged_is_fetched_anew(tmp_path: Path, hub: FakeHub, damage: object) -> None:
    preset = preset_of(hub)
    fetch(preset, tmp_path, hub)
    assert callable(damage)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(damage(content))
    assert fetch(preset, tmp_path, hub) == ["downloaded", "downloaded"]
    assert all((tmp_path / name).read_bytes() == content for name, content in FILES.items())


def test_a_file_that_the_hub_does_not_have_is_named(tmp_path: Path, hub: FakeHub) -> None:
    preset = preset_of(hub)
    hub.files.clear()
    with pytest.raises(FetchError, match=r"some/model/weights\.pt: expected it on the hub") as caught:
        fetch(preset, tmp_path, hub)
    assert (caught.value.code, caught.value.field) == ("download_failed", "files")
    _, tiny = preset.files
    with pytest.raises(FetchError, match=r"some/tiny/tiny\.pth: http://127.*404"):
        fetch(replace(preset, files=(tiny,)), tmp_path, hub)


def test_a_machine_that_is_not_there_is_an_error_of_ours(tmp_path: Path, hub: FakeHub) -> None:
    nobody = "http://127.0.0.1:1"
    weights, tiny = preset_of(hub).files
    files = (weights, replace(tiny, url=f"{nobody}/tiny.pth"))
    for file in files:
        with pytest.raises(FetchError, match=f"{file.name}: .*refused"):
            fetch(replace(LONGLIVE_1_3B, files=(file,), lora=None), tmp_path, hub, endpoint=nobody)


def test_without_the_hubs_client_the_extra_is_named(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FetchError, match=r"need the package huggingface-hub \(extra `checkpoints`\)") as caught:
        fetch(preset_of(hub), tmp_path, hub)
    assert caught.value.code == "package_missing"


@pytest.mark.parametrize("layout", ["repository/path", "path", "flat", "cache"])
def test_files_at_hand_are_copied_and_checked(tmp_path: Path, hub: FakeHub, layout: str) -> None:
    at_hand, model_dir = tmp_path / "at_hand", tmp_path / "models"
    for name, content in FILES.items():
        owner, repository, path = name.split("/")
        place = {
            "repository/path": at_hand / name,
            "path": at_hand / path,
            "flat": at_hand / Path(path).name,
            "cache": at_hand / f"models--{owner}--{repository}" / "snapshots" / COMMIT / path,
        }[layout]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    preset = preset_of(hub)
    assert fetch(preset, model_dir, hub, source=at_hand, offline=True) == ["copied", "copied"]
    assert all((model_dir / name).read_bytes() == content for name, content in FILES.items())
    assert hub.requests == []
    assert find_in(at_hand, replace(preset.files[0], path="other.pt")) is None


def test_a_wrong_file_at_hand_is_refused_and_leaves_nothing(tmp_path: Path, hub: FakeHub) -> None:
    at_hand, model_dir = tmp_path / "at_hand", tmp_path / "models"
    at_hand.mkdir()
    (at_hand / "weights.pt").write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(FetchError, match=rf"some/model/weights\.pt: {at_hand}/weights\.pt: expected sha256"):
        fetch(preset_of(hub), model_dir, hub, source=at_hand)
    assert not any((model_dir / "some/model").iterdir())


def test_all_that_is_missing_offline_is_named_before_anything_is_done(tmp_path: Path, hub: FakeHub) -> None:
    own = ModelFile(role="lora", path="mine.pt")
    preset = preset_of(hub)
    files = (*preset.files, own)
    everything = replace(LONGLIVE_1_3B, files=files)
    with pytest.raises(FetchError, match=r"3 files are not in .*: some/model/weights\.pt, some/tiny/.*, mine\.pt"):
        fetch(everything, tmp_path, hub, offline=True)
    with pytest.raises(FetchError, match=r"1 files are not in .*: mine\.pt"):
        fetch(everything, tmp_path, hub)
    assert hub.requests == []


def test_room_is_looked_for_first(tmp_path: Path, hub: FakeHub) -> None:
    huge = replace(preset_of(hub).files[0], size=2**60)
    with pytest.raises(FetchError, match=f"expected {2**60} bytes of room, found"):
        fetch(replace(LONGLIVE_1_3B, files=(huge,), lora=None), tmp_path, hub)
    assert hub.requests == []


def test_sums_are_remembered_until_the_file_changes(tmp_path: Path, hub: FakeHub) -> None:
    preset = preset_of(hub)
    fetch(preset, tmp_path, hub)
    path = tmp_path / "some/model/weights.pt"
    record = json.loads((tmp_path / RECORD).read_text())
    assert record[str(path)]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    seen: list[FileProgress] = []
    list(fetch_preset(preset, tmp_path, options=FetchOptions(offline=True), progress=seen.append))
    assert seen == []  # nothing was read again
    path.write_bytes(b"x" + WEIGHTS[1:])
    assert fetch(preset, tmp_path, hub) == ["downloaded", "present"]
    (tmp_path / RECORD).write_text("{")
    list(fetch_preset(preset, tmp_path, options=FetchOptions(offline=True), progress=seen.append))
    assert {step.doing for step in seen} == {"checking"}


def test_a_licence_is_agreed_to_once_for_a_folder(tmp_path: Path) -> None:
    licence, folder = LONGLIVE_1_3B.licence, tmp_path / "models"
    with pytest.raises(PresetError, match=r"CC-BY-NC-SA-4\.0 \(non-commercial use only; https://creative") as caught:
        require_accepted(LONGLIVE_1_3B, folder)
    assert (caught.value.code, caught.value.field) == ("licence_not_accepted", "accept_licence")
    accept(licence, folder)
    accept(licence, folder)
    require_accepted(LONGLIVE_1_3B, folder)
    assert not accepted(replace(licence, name="another"), folder)
    assert accepted(Licence(name="MIT", url="https://example.org", commercial=True), tmp_path / "elsewhere")
    (folder / "accepted-licences.json").write_text("[")
    assert not accepted(licence, folder)
