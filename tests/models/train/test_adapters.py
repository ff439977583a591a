"""Adapters in training: they begin without effect, and what is written is what the engine reads and merges."""

from pathlib import Path

import pytest
import torch

from models.lora import LoraSource, read_lora, target_shapes
from models.train.adapters import (
    AdapterConfig,
    adapter_state,
    add_adapters,
    base_state,
    load_adapters,
    merged_state,
    write_adapters,
)
from models.train.bundle import DemoSizes
from models.transformer import Transformer

CONFIG = DemoSizes(dim=32, ffn_dim=48, num_layers=2, num_heads=2, text_dim=12, text_len=16, freq_dim=16).transformer()


def adapted(*, moved: bool) -> tuple[Transformer, dict[str, torch.Tensor]]:
    """A transformer with adapters, and its weights before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = Transformer(CONFIG)
    before = {name: tensor.clone() for name, tensor in transformer.state_dict().items()}
    trained = add_adapters(transformer, AdapterConfig(rank=4, alpha=8.0), seed=1)
    assert sum(parameter.numel() for parameter in trained) == sum(4 * sum(shape) for _, shape in target_shapes(CONFIG))
    if moved:
        noise = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in trained:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return transformer, before


def test_new_adapters_change_nothing_and_the_base_keeps_its_names() -> None:
    transformer, before = adapted(moved=False)
    for state in (base_state(transformer), merged_state(transformer)):
        assert state.keys() == before.keys()
        assert all(torch.equal(state[name], before[name]) for name in before)


def test_what_is_written_is_what_the_engine_merges(tmp_path: Path) -> None:
    transformer, before = adapted(moved=True)
    path = tmp_path / "lora.safetensors"
    write_adapters(transformer, path)
    lora = read_lora(LoraSource(path=path, rank=4, complete=True), CONFIG)
    merged = merged_state(transformer)
    for name in lora.targets:
        torch.testing.assert_close(before[name] + lora.delta(name), merged[name])
        assert not torch.equal(before[name], merged[name])


def test_merged_weights_give_what_base_and_adapters_give() -> None:
    transformer, _ = adapted(moved=True)
    layer = next(iter(transformer.blocks)).ffn
    x = torch.randn(3, CONFIG.dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        beside = layer(x)
        plain = Transformer(CONFIG)
        plain.load_state_dict(merged_state(transformer))
        torch.testing.assert_close(next(iter(plain.blocks)).ffn(x), beside, atol=1e-5, rtol=1e-5)


def test_adapters_of_another_transformer_are_refused() -> None:
    transformer, _ = adapted(moved=True)
    state = adapter_state(transformer)
    load_adapters(transformer, state)
    state.pop(next(iter(state)))
    with pytest.raises(ValueError, match="of the same names"):
        load_adapters(transformer, state)
