"""Every reference case is reproduced, and a damaged case is refused by name.

Reads `tests/reference/data`, or the directory that LONGTAKE_REFERENCE names.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from models.errors import WeightsError
from models.reference import list_cases, read_case, run_case
from models.weights import read_safetensors, write_safetensors

OWN = Path(__file__).parent / "data"
DIRECTORY = Path(os.environ.get("LONGTAKE_REFERENCE", OWN))
TOLERANCE = 1e-4


def test_reference_directory_holds_cases() -> None:
    assert list_cases(DIRECTORY), f"no reference case in {DIRECTORY}"


@pytest.mark.parametrize("name", list_cases(DIRECTORY))
def test_reference(name: str) -> None:
    case = read_case(DIRECTORY, name)
    deviations = run_case(case)
    assert len(deviations) == 2 * case.blocks * len(case.sampler.steps)
    assert [d for d in deviations if not d.largest <= TOLERANCE] == []


@pytest.fixture
def copied_case(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A case's description in a directory of its own, and its tensors to be damaged."""
    name = "no_sink_window6"
    (tmp_path / f"{name}.json").write_text((OWN / f"{name}.json").read_text())
    return tmp_path / name, dict(read_safetensors(OWN / f"{name}.safetensors").tensors)


@pytest.mark.parametrize(
    "missing", ["weights.blocks.1.ffn.2.bias", "prompt.0", "block.3.noise", "block.2.step.1.velocity"]
)
def test_reference_names_a_missing_tensor(copied_case: tuple[Path, dict[str, torch.Tensor]], missing: str) -> None:
    path, tensors = copied_case
    del tensors[missing]
    write_safetensors(path.with_suffix(".safetensors"), tensors, {})
    with pytest.raises(WeightsError, match=missing.removeprefix("weights.")):
        run_case(read_case(path.parent, path.name))


@pytest.mark.parametrize("misshapen", ["weights.head.head.weight", "prompt.0", "block.0.noise", "block.4.latent"])
def test_reference_names_a_misshapen_tensor(copied_case: tuple[Path, dict[str, torch.Tensor]], misshapen: str) -> None:
    path, tensors = copied_case
    tensors[misshapen] = tensors[misshapen][..., :-1].contiguous()
    write_safetensors(path.with_suffix(".safetensors"), tensors, {})
    with pytest.raises(WeightsError, match=misshapen.removeprefix("weights.")):
        run_case(read_case(path.parent, path.name))


def test_reference_notices_another_sink_policy(copied_case: tuple[Path, dict[str, torch.Tensor]]) -> None:
    """The comparison can fail: with one policy changed the same tensors no longer match."""
    path, tensors = copied_case
    write_safetensors(path.with_suffix(".safetensors"), tensors, {})
    described = json.loads(path.with_suffix(".json").read_text())
    described["policy"]["window_frames"] = 9
    path.with_suffix(".json").write_text(json.dumps(described))
    deviations = run_case(read_case(path.parent, path.name))
    assert max(d.largest for d in deviations) > 100 * TOLERANCE
