"""What `verify` finds: nothing where all is right, and the part that is wrong where one is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from cache.kv import KVCache
from models.generator import Generator
from models.presets import Preset
from models.tiny_decoder import TinyDecoder
from models.vae import DecoderState
from models.verify import Finding, verify
from tests.models.engines import make_generator, small_preset

REFERENCE = Path(__file__).parent.parent / "reference" / "data"
BLOCKS = 6


def engine(preset: Preset | None = None) -> Generator:
    return make_generator(preset or replace(small_preset(), suggested_prompts=("a red ball", "the blue sea")))


def failed(generator: Generator) -> list[str]:
    return [finding.name for finding in verify(generator, blocks=BLOCKS) if not finding.passed]


def test_all_is_right_and_every_check_is_made() -> None:
    findings = list(verify(engine(), blocks=BLOCKS, reference=REFERENCE))
    assert [finding.name for finding in findings if finding.name.startswith("reference")] == [
        *(f"reference {path.stem}" for path in sorted(REFERENCE.glob("*.json"))),
        "reference checkpoint",
    ]
    own = [finding.name for finding in findings if not finding.name.startswith("reference")]
    assert own == [
        *("kernel auto", "cached pass", "recache", "repeated", "streamed decode"),
        *("restored by replay", "restored by copy"),
    ]
    assert [finding for finding in findings if not finding.passed] == []


def test_one_suggested_prompt_is_enough() -> None:
    assert failed(engine(replace(small_preset(), suggested_prompts=("a red ball",)))) == []


def test_a_kernel_that_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return 1.01 * scaled_dot_product_attention(q, k, v)

    monkeypatch.setattr("models.attention.scaled_dot_product_attention", off)
    assert failed(engine()) == ["kernel auto"]


def test_a_cache_that_loses_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., tuple[Tensor, Tensor]] = KVCache.read

    def lossy(self: KVCache, layer: int, **plan: object) -> tuple[Tensor, Tensor]:
        keys, values = real(self, layer, **plan)
        return keys, torch.where(torch.arange(values.shape[1])[None, :, None, None] == 2, 0.0, values)

    monkeypatch.setattr(KVCache, "read", lossy)
    assert failed(engine()) == ["cached pass", "recache"]


def test_a_decoder_that_remembers_what_it_should_not_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = TinyDecoder.decode
    calls = []

    def moody(self: TinyDecoder, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        calls.append(1)
        pixels, state = real(self, latent, state)
        return (pixels + 0.01 * len(calls)).clamp(0.0, 1.0), state

    monkeypatch.setattr(TinyDecoder, "decode", moody)
    assert {"streamed decode", "repeated"} <= set(failed(engine()))


def test_what_is_no_number_does_not_pass() -> None:
    assert not Finding("a", float("nan"), 1.0, "").passed
    assert Finding("a", 1.0, 1.0, "").passed
