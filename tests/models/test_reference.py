"""Reading and running reference cases of other sizes than those kept: what is asked for, in which shape, and errors.

The kept cases themselves are compared in tests/reference. Here a case is made up: two videos at once, blocks of two
frames, a switch before the first block and two at one block. Its wanted tensors are zeros, so that a deviation is the
size of what was computed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.config import TransformerConfig
from models.errors import WeightsError
from models.pieces import randomise
from models.reference import Deviation, NamedTensors, list_cases, read_case, run_case
from models.transformer import Transformer
from models.weights import write_safetensors

BATCH, BLOCKS, STEPS, FRAMES = 2, 5, 2, 2
BLOCK = (BATCH, FRAMES, 4, 4, 6)
CONFIG = TransformerConfig(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, text_dim=8, text_len=6, in_channels=4, out_channels=4, freq_dim=16
)


def described() -> dict[str, Any]:
    return {
        "config": {
            "text_len": 6,
            "in_dim": 4,
            "dim": 24,
            "ffn_dim": 32,
            "freq_dim": 16,
            "text_dim": 8,
            "out_dim": 4,
            "num_heads": 2,
            "num_layers": 2,
            "timestep_shift": 3.0,
            "patch_size": [1, 2, 2],
            "eps": 1e-6,
        },
        "policy": {
            "window_frames": 7,
            "sink_frames": 1,
            "frames_per_block": FRAMES,
            "rope": "relative",
            "sink_on_switch": "refresh",
        },
        "case": {
            "denoising_steps": [1000, 500],
            "context_timestep": 0,
            "latent_height": 4,
            "latent_width": 6,
            "num_blocks": BLOCKS,
            "switch_at_block": [0, 2, 2],
        },
    }


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the case beside the weights."""
    asked: dict[str, tuple[int, ...]] = {f"prompt.{number}": (BATCH, 6, 8) for number in range(4)}
    for block in range(BLOCKS):
        asked |= {f"block.{block}.noise": BLOCK, f"block.{block}.latent": BLOCK}
        for step in range(STEPS):
            asked[f"block.{block}.step.{step}.velocity"] = BLOCK
            if step + 1 < STEPS:
                asked |= {f"block.{block}.step.{step}.{name}": BLOCK for name in ("renoise", "next_input")}
    return asked


def made_up() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, shape in shapes().items():
        given = name.startswith("prompt") or name.endswith("noise")
        tensors[name] = torch.randn(shape, generator=generator) if given else torch.zeros(shape)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = Transformer(CONFIG)
        randomise(model)
    return tensors | {f"weights.{name}": tensor for name, tensor in model.state_dict().items()}


def write(folder: Path, tensors: dict[str, Tensor], *, description: object = None) -> None:
    (folder / "made_up.json").write_text(json.dumps(described() if description is None else description))
    write_safetensors(folder / "made_up.safetensors", tensors, {})


def run(folder: Path) -> list[Deviation]:
    return run_case(read_case(folder, "made_up"))


def test_a_case_of_other_sizes_is_read(tmp_path: Path) -> None:
    write(tmp_path, made_up())
    case = read_case(tmp_path, "made_up")
    assert case.transformer == CONFIG
    assert (case.window.window_frames, case.window.sink_frames, case.window.block_frames) == (7, 1, 2)
    assert (case.window.positions, case.sink, case.switches) == ("relative", "refresh", (0, 2, 2))
    assert (case.sampler.steps, case.sampler.shift) == ((1000, 500), 3.0)
    assert (case.batch, case.block_shape) == (BATCH, BLOCK)


def test_a_window_of_everything_has_room_for_all_blocks(tmp_path: Path) -> None:
    description = described()
    description["policy"] |= {"window_frames": -1, "rope": "absolute"}
    write(tmp_path, made_up(), description=description)
    window = read_case(tmp_path, "made_up").window
    assert (window.window_frames, window.capacity_frames, window.positions) == (None, BLOCKS * FRAMES, "absolute")


def test_every_wanted_tensor_is_compared(tmp_path: Path) -> None:
    write(tmp_path, made_up())
    deviations = run(tmp_path)
    compared = {name for name in shapes() if name.endswith(("velocity", "next_input", "latent"))}
    assert sorted(deviation.name for deviation in deviations) == sorted(compared)
    assert all(deviation.name.endswith(deviation.quantity) for deviation in deviations)
    assert all(0.01 < deviation.largest < 100 for deviation in deviations)


def test_a_deviation_is_the_largest_difference(tmp_path: Path) -> None:
    tensors = made_up()
    write(tmp_path, tensors)
    before = {deviation.name: deviation.largest for deviation in run(tmp_path)}
    tensors["block.4.latent"] = torch.full(BLOCK, 1000.0)
    write(tmp_path, tensors)
    after = {deviation.name: deviation.largest for deviation in run(tmp_path)}
    assert abs(after.pop("block.4.latent") - 1000) <= before.pop("block.4.latent")
    assert after == before


def test_both_videos_of_a_batch_are_made_as_if_alone(tmp_path: Path) -> None:
    tensors = made_up()
    together, alone = tmp_path / "together", tmp_path / "alone"
    largest = []
    for folder, number in ((together, None), (alone, 0), (alone, 1)):
        folder.mkdir(exist_ok=True)
        one = slice(None) if number is None else slice(number, number + 1)
        write(folder, {name: t if name.startswith("weights.") else t[one].clone() for name, t in tensors.items()})
        largest.append([deviation.largest for deviation in run(folder)])
    for both, first, second in zip(*largest, strict=True):
        assert both == pytest.approx(max(first, second), abs=1e-4)


@pytest.mark.parametrize("name", [name for name in shapes() if name != "prompt.0"])
def test_each_tensor_is_needed_and_its_shape_checked(tmp_path: Path, name: str) -> None:
    tensors = made_up()
    tensors[name] = tensors[name][:1].clone()
    write(tmp_path, tensors)
    with pytest.raises(WeightsError, match=rf"expected '{name}' of shape .*, found \(1, ") as caught:
        run(tmp_path)
    assert caught.value.field == name


def test_a_tensor_is_asked_for_by_name_and_shape() -> None:
    named = NamedTensors(Path("case.safetensors"), {"a": torch.zeros(2, 3), "weights.b": torch.ones(1)})
    assert named.get("a", (2, 3)).shape == (2, 3)
    assert set(named.weights()) == {"b"}
    with pytest.raises(WeightsError, match=r"case\.safetensors: expected 'a' of shape \(3, 2\), found \(2, 3\)"):
        named.get("a", (3, 2))
    with pytest.raises(WeightsError, match=r"case\.safetensors: expected 'c' of shape \(1,\), there is none"):
        named.get("c", (1,))


@pytest.mark.parametrize("section", ["config", "policy", "case"])
def test_a_missing_key_of_the_description_is_named(tmp_path: Path, section: str) -> None:
    for key in described()[section]:
        description = described()
        del description[section][key]
        write(tmp_path, {"prompt.0": torch.zeros(1, 6, 8)}, description=description)
        with pytest.raises(WeightsError, match=rf"made_up\.json: expected a key '{key}'"):
            read_case(tmp_path, "made_up")
    without = {name: part for name, part in described().items() if name != section}
    write(tmp_path, {"prompt.0": torch.zeros(1, 6, 8)}, description=without)
    with pytest.raises(WeightsError, match=f"expected a key '{section}'"):
        read_case(tmp_path, "made_up")


def test_a_case_is_two_files(tmp_path: Path) -> None:
    assert list_cases(tmp_path) == []
    for name in ("b.json", "b.safetensors", "a.json", "c.safetensors", "d.txt", "a.safetensors", "e.json"):
        (tmp_path / name).write_text("")
    assert list_cases(tmp_path) == ["a", "b"]
