"""Quantised weights: which layers, how many bytes, how far from full precision, and restored bit for bit."""

import logging
from dataclasses import replace

import pytest
import torch

from models.config import TransformerConfig
from models.errors import ConfigError
from models.generator import Generator
from models.load import LoadOptions, build_generator
from models.presets import LONGLIVE_1_3B, Preset
from models.quantize import QUANTIZE, Quantize, block_linears, check_quantize, held_bytes, quantise, weights_bytes
from models.transformer import Transformer
from models.verify import verify
from tests.models.engines import make_blocks, prompts, small_preset

INT8 = LoadOptions(random_seed=2, quantize="int8")


def preset() -> Preset:
    small = small_preset()
    sizes = replace(small.transformer, dim=32, ffn_dim=48)
    return replace(small, transformer=sizes, decoder="linear")


def transformer(config: TransformerConfig) -> Transformer:
    with torch.device("meta"):
        return Transformer(config)


def test_block_linears_and_nothing_else() -> None:
    """300 layers of the 1.3B (longlive-spec 9.2)."""
    names = [name for name, _ in block_linears(transformer(LONGLIVE_1_3B.transformer))]
    assert len(names) == 300
    assert names[:10] == [
        *(f"blocks.0.self_attn.{part}" for part in "qkvo"),
        *(f"blocks.0.cross_attn.{part}" for part in "qkvo"),
        "blocks.0.ffn.0",
        "blocks.0.ffn.2",
    ]


def test_a_side_that_is_no_multiple_of_16_stays() -> None:
    config = replace(preset().transformer, ffn_dim=40)
    assert [name for name, _ in block_linears(transformer(config)) if "ffn" in name] == []
    assert len(list(block_linears(transformer(config)))) == 2 * 8


def test_the_size_is_reckoned_to_the_byte() -> None:
    engine = build_generator(preset(), INT8)
    plain = build_generator(preset(), replace(INT8, quantize="none"))
    pairs: tuple[tuple[Generator, Quantize], ...] = ((engine, "int8"), (plain, "none"))
    for generator, kind in pairs:
        held = held_bytes(generator.parts.passes.transformer)
        assert held == weights_bytes(transformer(preset().transformer), kind, itemsize=4)
        assert held == generator.parts.weight_bytes
    # The 1.3B's 2.84 GB become 1.45 GB.
    large = transformer(LONGLIVE_1_3B.transformer)
    sizes = [weights_bytes(large, kind, itemsize=2) for kind in QUANTIZE]
    assert sizes == [2_837_993_600, 1_449_426_560, 1_448_743_040]


def hashes(generator: Generator, count: int) -> list[str]:
    stream = generator.start(prompts("a red ball"), seed=1)
    return [block.frames_sha256 for block in make_blocks(generator, stream, count)]


def test_int8_is_near_full_precision_and_another_numerics() -> None:
    engine, plain = build_generator(preset(), INT8), build_generator(preset(), replace(INT8, quantize="none"))
    latents = []
    for generator in (engine, plain):
        stream = generator.start(prompts("a red ball"), seed=1)
        latents.append(make_blocks(generator, stream, 1)[0].latents.float())
    apart = (latents[0] - latents[1]).norm() / latents[1].norm()
    assert 0 < apart < 0.05
    assert engine.facts().fingerprint != plain.facts().fingerprint
    assert engine.facts().fingerprint == build_generator(preset(), INT8).facts().fingerprint


def test_int8_computes_what_it_should_and_is_restored_bit_for_bit() -> None:
    """Cached against uncached, a recache, by replay and by copy."""
    findings = list(verify(build_generator(preset(), INT8), blocks=7))
    assert [finding for finding in findings if not finding.passed] == []
    exact = {finding.name: finding.deviation for finding in findings if finding.limit == 0.0}
    assert exact == {"repeated": 0, "streamed decode": 0, "restored by replay": 0, "restored by copy": 0}


def test_the_library_says_nothing_and_leaves_loggers_as_they_were(caplog: pytest.LogCaptureFixture) -> None:
    levels = [logging.getLogger(name).level for name in ("torchao", "torch.utils._pytree")]
    check_quantize("int8", device=torch.device("cpu"), dtype=torch.float32)
    assert [logging.getLogger(name).level for name in ("torchao", "torch.utils._pytree")] == levels
    assert caplog.records == []


def test_none_changes_nothing() -> None:
    module = Transformer(preset().transformer)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    quantise(module, "none")
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.bfloat16), ("cpu", torch.float32)])
def test_fp8_is_refused_where_it_cannot_run(device: str, dtype: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=r"compute capability 8\.9") as refused:
        check_quantize("fp8", device=torch.device(device), dtype=dtype)
    assert refused.value.field == "quantize"
