"""Adapters in a file: every layout gives the same sum, and a file for another model or rank is refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.config import TransformerConfig
from models.errors import WeightsError
from models.lora import LoraSource, read_lora, target_shapes
from models.names import to_diffusers
from models.presets import LONGLIVE_1_3B
from tests.models.checkpoints import RANK, SMALL, random_adapters, write_adapters

STEM = "blocks.1.self_attn.q"


def expected_delta(adapters: dict[str, Tensor], scale: float = 1.0) -> Tensor:
    up, down = (adapters[f"base_model.model.{STEM}.lora_{half}.weight"] for half in "BA")
    return scale * (up @ down)


def renamed(adapters: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    """The same adapters under the names of other libraries."""
    found = {}
    for name, tensor in adapters.items():
        stem, half = name.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        theirs = to_diffusers(f"{stem}.weight").removesuffix(".weight")
        other = {"lora_A": "lora_down", "lora_B": "lora_up"}[half]
        found[
            {
                "peft": name,
                "named": f"base_model.model.{stem}.{half}.default.weight",
                "wrapped": f"base_model.model.model._fsdp_wrapped_module.{stem}.{half}.weight",
                "diffusers": f"transformer.{theirs}.{half}.weight",
                "original": f"diffusion_model.{stem}.{half}.weight",
                "down_up": f"diffusion_model.{stem}.{other}.weight",
            }[layout]
        ] = tensor
    return found


@pytest.mark.parametrize("layout", ["peft", "named", "wrapped", "diffusers", "original", "down_up"])
def test_every_layout_gives_the_same_sum(tmp_path: Path, layout: str) -> None:
    adapters = random_adapters()
    path = tmp_path / "lora.safetensors"
    save_file(renamed(adapters, layout), path)
    lora = read_lora(LoraSource(path=path, complete=True), SMALL)
    assert lora.targets == {name for name, _ in target_shapes(SMALL)}
    delta = lora.delta(f"{STEM}.weight")
    assert delta.dtype == torch.float32
    assert torch.allclose(delta, expected_delta(adapters), atol=1e-6)
    assert lora.nbytes == sum(tensor.nbytes for tensor in adapters.values())


def test_alpha_comes_from_the_file_from_the_caller_or_is_the_rank(tmp_path: Path) -> None:
    adapters = random_adapters()
    bare = LoraSource(path=write_adapters(tmp_path, adapters))
    given = LoraSource(path=bare.path, alpha=1.5)
    own = {f"base_model.model.{STEM}.alpha": torch.tensor(6.0)}
    inside = LoraSource(path=write_adapters(tmp_path, adapters | own, name="own.pt"), alpha=1.5)
    for source, scale in ((bare, 1.0), (given, 1.5 / RANK), (inside, 6.0 / RANK)):
        delta = read_lora(source, SMALL).delta(f"{STEM}.weight")
        assert torch.allclose(delta, expected_delta(adapters, scale), atol=1e-6)


def test_the_published_adapter_has_the_published_size() -> None:
    shapes = dict(target_shapes(LONGLIVE_1_3B.transformer))
    assert LONGLIVE_1_3B.lora is not None
    assert len(shapes) == 300
    assert sum(LONGLIVE_1_3B.lora.rank * (out + width) for out, width in shapes.values()) == 349_962_240


def test_some_targets_are_enough_unless_all_are_asked_for(tmp_path: Path) -> None:
    some = {name: tensor for name, tensor in random_adapters().items() if ".self_attn.q." in name}
    path = write_adapters(tmp_path, some)
    assert len(read_lora(LoraSource(path=path), SMALL).targets) == 2
    with pytest.raises(WeightsError, match=r"lora\.pt: 18 adapters do not fit: missing the pair for blocks\.0\.self"):
        read_lora(LoraSource(path=path, complete=True), SMALL)


def wide() -> dict[str, Tensor]:
    config = TransformerConfig(
        dim=48, ffn_dim=32, num_layers=2, num_heads=2, text_dim=8, text_len=6, in_channels=4, out_channels=4
    )
    return random_adapters(config)


def without(name: str) -> dict[str, Tensor]:
    adapters = random_adapters()
    del adapters[name]
    return adapters


NAME = f"base_model.model.{STEM}"
CASES = [
    (random_adapters(rank=4), 3, rf"{NAME}.lora_A.weight: expected shape \[3, 24\] of rank 3, found \[4, 24\]"),
    (wide(), None, rf"{NAME}.lora_A.weight: expected shape \[3, 24\] of rank 3, found \[3, 48\] of torch.float32"),
    (without(f"{NAME}.lora_B.weight"), None, rf"1 adapters do not fit: {NAME}.lora_A.weight: expected both halves"),
    ({**random_adapters(), "head.head.weight": torch.zeros(2, 2)}, None, r"unexpected head.head.weight \[2, 2\]"),
    ({**random_adapters(), f"{NAME}.dora_scale": torch.zeros(2)}, None, rf"unexpected {NAME}.dora_scale \[2\]"),
    (
        {**random_adapters(), **{f"head.head.lora_{half}.weight": torch.zeros(3, 3) for half in "AB"}},
        None,
        "unexpected head.head.lora_A.weight and head.head.lora_B.weight: no linear layer of the blocks",
    ),
    (
        {**random_adapters(), f"{STEM}.lora_down.weight": torch.zeros(3, 24)},
        None,
        f"{STEM}.lora_down.weight: expected one such tensor, {NAME}.lora_A.weight is another",
    ),
    ({f"{NAME}.lora_A.weight": torch.tensor(1.0), f"{NAME}.lora_B.weight": torch.zeros(24, 1)}, None, r"found \[\] of"),
    ({}, None, "found no adapters in it"),
]


@pytest.mark.parametrize(("adapters", "rank", "message"), CASES)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, adapters: dict[str, Tensor], rank: int | None, message: str
) -> None:
    path = write_adapters(tmp_path, adapters)
    with pytest.raises(WeightsError, match=message) as caught:
        read_lora(LoraSource(path=path, rank=rank), SMALL)
    assert str(path) in str(caught.value)
    assert (caught.value.code, caught.value.field) == ("model_files_invalid", "lora")


def test_every_pair_of_another_model_is_listed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="40 adapters do not fit") as caught:
        read_lora(LoraSource(path=write_adapters(tmp_path, random_adapters(rank=4)), rank=3), SMALL)
    assert all(f"base_model.model.{name[:-7]}.lora_A.weight" in str(caught.value) for name, _ in target_shapes(SMALL))


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    adapters = random_adapters()
    adapters[f"{NAME}.lora_A.weight"][0, 0] = float("nan")
    lora = read_lora(LoraSource(path=write_adapters(tmp_path, adapters)), SMALL)
    with pytest.raises(WeightsError, match=rf"lora\.pt: {NAME}.lora_A.weight: expected finite values"):
        lora.delta(f"{STEM}.weight")
    lora.delta("blocks.0.self_attn.q.weight")
