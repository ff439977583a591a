"""Names of one tensor in several places: the library's, wrapped ones, and ours.

The library itself is the oracle: its model on the meta device has exactly the names that ours are renamed to.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.names import strip_wrappers, to_diffusers, to_wan

KEYS = json.loads((Path(__file__).parent / "wan2.1_t2v_1.3b_keys.json").read_text())


def test_all_names_of_the_published_model_are_the_librarys_and_back() -> None:
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        theirs: Any = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30, text_dim=4096, freq_dim=256
        )
    shapes = {name: list(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert {to_diffusers(name): shape for name, shape in KEYS.items()} == shapes
    assert [to_wan(to_diffusers(name)) for name in KEYS] == list(KEYS)
    assert [to_wan(name) for name in KEYS] == list(KEYS)


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("model.blocks.0.ffn.0.weight", "blocks.0.ffn.0.weight"),
        ("model._fsdp_wrapped_module.head.modulation", "head.modulation"),
        ("model._fsdp_wrapped_module.blocks.3._checkpoint_wrapped_module.norm3.bias", "blocks.3.norm3.bias"),
        ("_orig_mod.module.model.head.head.weight", "head.head.weight"),
        ("base_model.model.model.blocks.1.self_attn.q.base_layer.weight", "blocks.1.self_attn.q.weight"),
        ("base_model.model.blocks.1.ffn.2.lora_A.default.weight", "blocks.1.ffn.2.lora_A.weight"),
        ("diffusion_model.blocks.1.cross_attn.o.lora_up.weight", "blocks.1.cross_attn.o.lora_up.weight"),
        ("transformer.blocks.1.attn1.to_q.lora_B.weight", "blocks.1.attn1.to_q.lora_B.weight"),
        ("head.head.weight", "head.head.weight"),
        ("model", "model"),
        ("blocks.0.model.weight", "blocks.0.model.weight"),
    ],
)
def test_wrappers_are_stripped_wherever_they_stand(wrapped: str, plain: str) -> None:
    assert strip_wrappers(wrapped) == plain
    assert strip_wrappers(plain) == plain


@pytest.mark.parametrize(
    "name", ["blocks.0.self_attn.other.weight", "blocks.0.norm1.weight", "img_emb.proj.0.weight", "blocks.x.ffn.0", ""]
)
def test_names_that_are_no_parameter_stay(name: str) -> None:
    assert to_wan(name) == name
    assert to_diffusers(name) == name
