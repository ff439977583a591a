"""Sums of files: one digest of all of a preset's, what is wrong named, and nothing lost without a place to write."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import WeightsError
from models.presets import LONGLIVE_1_3B, ModelFile, Preset
from models.sums import RECORD, check_file, file_sha256, files_digest, size_problem

CONTENT = b"weights" * 1000


def preset_in(folder: Path) -> Preset:
    (folder / "a.pt").write_bytes(CONTENT)
    (folder / "b.pt").write_bytes(CONTENT[:-1])
    digest = hashlib.sha256(CONTENT).hexdigest()
    files = (
        ModelFile(role="transformer", path="a.pt", sha256=digest, size=len(CONTENT)),
        ModelFile(role="part", path="b.pt"),
    )
    return replace(LONGLIVE_1_3B, files=files, lora=None)


def test_a_digest_stands_for_all_files(tmp_path: Path) -> None:
    preset = preset_in(tmp_path)
    before = files_digest(preset, tmp_path)
    assert len(before) == 64
    assert files_digest(preset, tmp_path) == before
    (tmp_path / "b.pt").write_bytes(CONTENT[1:])
    assert files_digest(preset, tmp_path) != before


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    file = preset_in(tmp_path).files[0]
    path = tmp_path / "a.pt"
    assert check_file(file, tmp_path) == file.sha256 == file_sha256(path)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=rf"{path}: damaged, or another file: expected sha256 {file.sha256}, found"):
        check_file(file, tmp_path)
    path.write_bytes(CONTENT[:-1])
    assert size_problem(file, tmp_path) == f"{path}: expected 7000 bytes, found 6999"
    path.unlink()
    with pytest.raises(WeightsError, match=rf"{path}: expected the file a\.pt, found none"):
        check_file(file, tmp_path)


def test_a_folder_that_cannot_be_written_is_only_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = preset_in(tmp_path)

    def refuse(*names: object) -> None:
        raise OSError("read only")

    monkeypatch.setattr("models.sums.os.replace", refuse)
    assert check_file(preset.files[0], tmp_path) == preset.files[0].sha256
    assert not (tmp_path / RECORD).exists()
    read: list[int] = []
    check_file(preset.files[0], tmp_path, read=read.append)
    assert sum(read) == len(CONTENT)
