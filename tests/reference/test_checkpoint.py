"""The checkpoint of the published layout loads and computes what is expected, and a damaged one is refused by name.

Reads `tests/reference/data`, or the directory that LONGTAKE_REFERENCE names, which may have no checkpoint of its own.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from models.errors import WeightsError
from models.reference_checkpoint import FOLDER, TOLERANCE, has_checkpoint, run_checkpoint

OWN = Path(__file__).parent / "data"
GIVEN = Path(os.environ.get("LONGTAKE_REFERENCE", OWN))
DIRECTORIES = [OWN] if GIVEN == OWN or not has_checkpoint(GIVEN) else [OWN, GIVEN]


@pytest.mark.parametrize("directory", DIRECTORIES, ids=str)
def test_the_checkpoint_gives_what_is_expected(directory: Path) -> None:
    deviations = run_checkpoint(directory)
    assert [deviation.name for deviation in deviations] == ["velocity", "x0"]
    assert [d for d in deviations if not d.largest <= TOLERANCE] == []


def test_the_other_dictionary_is_another_model() -> None:
    """The comparison can fail: the checkpoint's averaged weights are other ones, under wrapped names."""
    assert max(deviation.largest for deviation in run_checkpoint(OWN, key="generator_ema")) > 100 * TOLERANCE


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(OWN / FOLDER, tmp_path / FOLDER)
    return tmp_path


def test_the_adapter_is_felt(copy: Path) -> None:
    path = copy / FOLDER / "lora.pt"
    loaded = torch.load(path, weights_only=True)
    torch.save({"generator_lora": {name: 2 * tensor for name, tensor in loaded["generator_lora"].items()}}, path)
    assert max(deviation.largest for deviation in run_checkpoint(copy)) > 10 * TOLERANCE


@pytest.mark.parametrize(
    ("rank", "message"),
    [(8, r"lora\.pt: 40 adapters do not fit: .*lora_A\.weight: expected shape \[8, 48\] of rank 8, found \[4, 48\]")],
)
def test_another_rank_is_refused(copy: Path, rank: int, message: str) -> None:
    case = copy / FOLDER / "case.json"
    described = json.loads(case.read_text())
    described["lora"]["rank"] = rank
    case.write_text(json.dumps(described))
    with pytest.raises(WeightsError, match=message):
        run_checkpoint(copy)


def test_what_is_missing_is_named(copy: Path) -> None:
    case = copy / FOLDER / "case.json"
    case.write_text(json.dumps({"config": {}, "lora": {}}))
    with pytest.raises(WeightsError, match=r"case\.json: expected a key 'dim'"):
        run_checkpoint(copy)
    shutil.copy(OWN / FOLDER / "lora.pt", copy / FOLDER / "longlive_base.pt")
    shutil.copy(OWN / FOLDER / "case.json", case)
    with pytest.raises(WeightsError, match=r"longlive_base\.pt: expected tensors, or a dictionary of them as gen"):
        run_checkpoint(copy)
