"""The transformer from published files, in every layout they come in; and each way in which a file can be wrong.

The diffusers library is the oracle for names and for what the weights compute; no published file is opened.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.attention import FullAttention
from models.checkpoint import (
    TransformerSource,
    compare_transformer,
    load_transformer_files,
    parameter_name,
    transformer_problems,
)
from models.config import TransformerConfig
from models.errors import WeightsError
from models.fill import LoadProgress, stream_into
from models.lora import LoraSource
from models.names import to_diffusers
from models.presets import LONGLIVE_1_3B
from models.transformer import PassContext, Transformer
from models.weights import TensorFact
from tests.models.checkpoints import RANK, SMALL, random_adapters, random_weights, write_adapters, write_checkpoint

KEYS: dict[str, list[int]] = json.loads((Path(__file__).parent / "wan2.1_t2v_1.3b_keys.json").read_text())


def load(path: Path, *loras: LoraSource, key: str | None = None) -> Transformer:
    return load_transformer_files(SMALL, TransformerSource(weights=path, key=key, loras=loras))


def assert_holds(transformer: Transformer, weights: dict[str, Tensor]) -> None:
    found = transformer.state_dict()
    assert found.keys() == weights.keys()
    assert [name for name, tensor in weights.items() if not torch.equal(found[name], tensor)] == []


class Described:
    """A file of which only names and shapes are known."""

    def __init__(self, shapes: dict[str, list[int]]) -> None:
        self.source = Path("described")
        self.facts = {name: TensorFact(tuple(shape), torch.float32) for name, shape in shapes.items()}

    def read(self, name: str) -> Tensor:
        raise AssertionError(f"{name}: nothing is read to compare shapes")


@pytest.mark.parametrize(
    "rename",
    [lambda n: n, to_diffusers, lambda n: f"model.{n}", lambda n: f"model._fsdp_wrapped_module.{n}"],
    ids=["original", "diffusers", "wrapped", "sharded"],
)
def test_all_names_of_the_published_model_fit_the_preset(rename: object) -> None:
    assert callable(rename)
    file = Described({rename(name): shape for name, shape in KEYS.items()})
    assert len(file.facts) == 825
    assert compare_transformer(LONGLIVE_1_3B.transformer, file) == ()


@pytest.mark.parametrize("layout", ["plain", "diffusers", "sharded", "bare", "trained", "wrapped", "old"])
def test_every_layout_gives_the_same_weights(tmp_path: Path, layout: str) -> None:
    weights = random_weights()
    assert_holds(load(written(tmp_path, weights, layout)), weights)


def written(folder: Path, weights: dict[str, Tensor], layout: str) -> Path:
    pickled, stored = folder / "base.pt", folder / "model.safetensors"
    if layout == "plain":
        save_file(weights, stored)
        return stored
    if layout == "diffusers":
        save_file({to_diffusers(name): tensor for name, tensor in weights.items()}, stored)
        return stored
    if layout == "sharded":
        return write_shards(folder, {to_diffusers(name): tensor for name, tensor in weights.items()})
    if layout == "bare":
        torch.save(weights, pickled)
    elif layout == "trained":
        others = {"critic": {"a": torch.zeros(1)}, "generator_optimizer": {"state": {0: {"step": 1}}}, "step": 3}
        torch.save({**others, "generator_ema": weights, "generator": weights}, pickled)
    elif layout == "wrapped":
        names = {f"model._fsdp_wrapped_module.{name}": tensor for name, tensor in weights.items()}
        torch.save({"generator_ema": names}, pickled)
    else:
        torch.save({"model": weights}, pickled, _use_new_zipfile_serialization=False)
    return pickled


def write_shards(folder: Path, weights: dict[str, Tensor]) -> Path:
    names = list(weights)
    shards = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: shard for shard, held in shards.items() for name in held}}))
    return index


def test_which_dictionary_is_taken_can_be_said(tmp_path: Path) -> None:
    one, other = random_weights(seed=1), random_weights(seed=2)
    path = tmp_path / "both.pt"
    torch.save({"generator_ema": other, "generator": one}, path)
    assert_holds(load(path), one)
    assert_holds(load(path, key="generator_ema"), other)
    with pytest.raises(WeightsError, match=r"both\.pt: expected tensors, or a dictionary of them as third, found"):
        load(path, key="third")


def test_weights_are_kept_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    weights = random_weights()
    path = write_checkpoint(tmp_path, weights)
    transformer = load_transformer_files(SMALL, TransformerSource(weights=path), dtype=torch.bfloat16)
    for name, tensor in transformer.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, weights[name].bfloat16())
    assert not transformer.training
    assert not any(parameter.requires_grad for parameter in transformer.parameters())


def test_adapters_are_added_once_in_single_precision(tmp_path: Path) -> None:
    weights, adapters = random_weights(), random_adapters()
    half = {name: tensor.bfloat16() for name, tensor in weights.items()}
    lora = LoraSource(path=write_adapters(tmp_path, adapters), rank=RANK, alpha=6.0, scale=0.5, complete=True)
    source = TransformerSource(weights=write_checkpoint(tmp_path, half), loras=(lora, lora))
    transformer = load_transformer_files(SMALL, source, dtype=torch.bfloat16)
    stem = "blocks.1.ffn.0"
    up, down = (adapters[f"base_model.model.{stem}.lora_{letter}.weight"] for letter in "BA")
    expected = half[f"{stem}.weight"].float() + 2 * 0.5 * (6.0 / RANK) * (up @ down)
    found = transformer.state_dict()[f"{stem}.weight"]
    # Rounded once: at most half a step of bfloat16 from the exact sum.
    assert (found.float() - expected).abs().max() <= expected.abs().max() * 2**-8
    assert torch.equal(transformer.state_dict()[f"{stem}.bias"], half[f"{stem}.bias"])


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    weights = random_weights()
    seen: list[LoadProgress] = []
    source = TransformerSource(weights=write_checkpoint(tmp_path, weights))
    load_transformer_files(SMALL, source, progress=seen.append)
    total = sum(tensor.nbytes for tensor in weights.values())
    assert [step.total_bytes for step in seen] == [total] * len(weights)
    assert seen[-1].done_bytes == total
    assert all(a.done_bytes < b.done_bytes for a, b in pairwise(seen))


def test_everything_that_does_not_fit_is_named_and_nothing_is_read(tmp_path: Path) -> None:
    weights = random_weights()
    del weights["blocks.1.norm3.bias"]
    weights["head.head.weight"] = torch.zeros(3, 24)
    weights["patch_embedding.bias"] = torch.zeros(24, dtype=torch.int64)
    weights["blocks.2.ffn.0.bias"] = torch.zeros(32)
    path = write_checkpoint(tmp_path, weights)
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert (caught.value.code, caught.value.field) == ("model_files_invalid", "model")
    for part in (
        f"{path}: 4 tensors do not fit",
        "missing blocks.1.norm3.bias, expected [24]",
        "model.head.head.weight: expected shape [16, 24], found [3, 24]",
        "model.patch_embedding.bias: expected torch.float32, found torch.int64",
        "unexpected model.blocks.2.ffn.0.bias [32]",
    ):
        assert part in str(caught.value)
    (problem, *more) = transformer_problems(SMALL, TransformerSource(weights=path))
    assert str(path) in problem
    assert len(more) == 3


def test_a_file_of_another_family_names_all_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "vae.pth"
    torch.save({"decoder.conv1.weight": torch.zeros(4, 4), "encoder.conv1.weight": torch.zeros(4)}, path)
    with pytest.raises(WeightsError, match=r"vae\.pth: 71 tensors do not fit: unexpected decoder\.conv1\.weight"):
        load(path)


def test_two_tensors_of_one_name_and_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = random_weights()
    twice = weights | {"module.head.modulation": weights["head.modulation"]}
    path = tmp_path / "twice.pt"
    torch.save(twice, path)
    with pytest.raises(WeightsError, match=r"module\.head\.modulation: expected one tensor for head\.modulation"):
        load(path)
    weights["blocks.0.modulation"][0, 3, 2] = float("nan")
    weights["head.modulation"][0, 1, 2] = float("inf")
    with pytest.raises(WeightsError, match=r"2 tensors do not fit: .*blocks\.0\.modulation: expected finite values"):
        load(write_checkpoint(tmp_path, weights))


def test_values_that_overflow_what_they_are_kept_in_are_refused(tmp_path: Path) -> None:
    weights = random_weights()
    weights["head.head.bias"][0] = 1e38
    path = write_checkpoint(tmp_path, weights)
    with pytest.raises(WeightsError, match=r"model\.head\.head\.bias: expected finite values as torch\.float16"):
        load_transformer_files(SMALL, TransformerSource(weights=path), dtype=torch.float16)


def test_computed_values_of_a_module_are_not_taken_from_nowhere() -> None:
    with torch.device("meta"):
        module = nn.Linear(1, 1)
        module.register_buffer("table", torch.zeros(1), persistent=False)
    with pytest.raises(AssertionError, match="no file holds the values of \\['table'\\]"):
        stream_into(module, Described({"weight": [1, 1], "bias": [1]}))


def test_the_weights_compute_what_the_library_computes(tmp_path: Path) -> None:
    """Full attention, all frames at one timestep: the one case in which the library has the same model."""
    from diffusers import WanTransformer3DModel

    config = TransformerConfig(
        dim=48, ffn_dim=80, num_layers=3, num_heads=4, text_dim=20, text_len=7, in_channels=16, freq_dim=32
    )
    torch.manual_seed(3)
    model: Any = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=12, text_dim=20, freq_dim=32, ffn_dim=80, num_layers=3
    )
    theirs = model.eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, 0.1 if parameter.ndim == 1 else 0.0, 0.15)
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    ours = load_transformer_files(config, TransformerSource(weights=index))

    latents, text = torch.randn(2, 5, 16, 6, 8), torch.randn(2, 7, 20)
    timestep = torch.tensor([937.5, 250.0])
    context = PassContext(
        rope=ours.rope(range(5), height=6, width=8), text=ours.embed_text(text), attend=FullAttention()
    )
    with torch.inference_mode():
        found = ours(latents, time=ours.embed_time(timestep[:, None]), context=context)
        expected = theirs(latents.transpose(1, 2), timestep, text, return_dict=False)[0].transpose(1, 2)
    assert expected.abs().max() > 0.1
    assert (found - expected).abs().max() <= 1e-4


def test_parameter_names_of_all_layouts() -> None:
    assert (
        parameter_name("model.blocks.0._checkpoint_wrapped_module.attn2.to_out.0.bias") == "blocks.0.cross_attn.o.bias"
    )
    assert parameter_name("scale_shift_table") == "head.modulation"
