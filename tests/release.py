"""A complete release of a small model for tests: every file in the layout in which the published ones come, and the
preset that a user would write for it.

The files are saved by the libraries' own functions under the original names, in folders as the hub's repositories have
them, with small sizes and random numbers. Knows nothing of how they are loaded.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5Config, UMT5EncoderModel

from models.config import TransformerConfig
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from tests.models.checkpoints import random_adapters, random_weights, write_adapters, write_checkpoint
from tests.models.pieces import SMALL_UMT5, SMALL_VAE, fill, write_tokenizer
from tests.models.test_umt5 import original_names
from tests.models.test_wan_vae import original_name

NAME = "small-release"
RANK = 4
FILES = {
    "transformer": "a-user/small/models/longlive_base.pt",
    "lora": "a-user/small/models/lora.pt",
    "text_encoder": "a-user/base/models_t5_umt5-xxl-enc-bf16.pth",
    "tokenizer": "a-user/base/tokenizer.json",
    "vae": "a-user/base/Wan2.1_VAE.pth",
    "tiny_decoder": "a-user/tiny/taew2_1.pth",
}
"""By role: owner, repository and path."""
KEYS = {"transformer": "generator", "lora": "generator_lora"}
TRANSFORMER = TransformerConfig(
    dim=32, ffn_dim=64, num_layers=2, num_heads=2, text_dim=SMALL_UMT5.dim, text_len=32, freq_dim=32
)
TINY = TinyDecoderConfig(widths=(8, 8, 8), head_width=8, encoder_width=8, blocks_per_stage=1)
SIDE = 32

_SIZES = f"""
name = "{NAME}"
title = "A small model of random numbers"
dtype = "float32"
decoder = "tiny"
suggested_prompts = ["a red ball in the sea", "a blue ball in the snow"]

[licence]
name = "CC-BY-NC-SA-4.0"
url = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
commercial = false
accept_required = true

[transformer]
dim = 32
ffn_dim = 64
num_layers = 2
num_heads = 2
text_dim = {SMALL_UMT5.dim}
text_len = 32
freq_dim = 32

[window]
window_frames = 12
sink_frames = 3
block_frames = 3

[sampler]
steps = [1000, 500]

[video]
width = {SIDE}
height = {SIDE}

[umt5]
vocabulary = {SMALL_UMT5.vocabulary}
dim = {SMALL_UMT5.dim}
heads = {SMALL_UMT5.heads}
head_dim = {SMALL_UMT5.head_dim}
ffn_dim = {SMALL_UMT5.ffn_dim}
layers = {SMALL_UMT5.layers}
buckets = {SMALL_UMT5.buckets}
max_distance = {SMALL_UMT5.max_distance}

[vae]
dim = {SMALL_VAE.dim}
num_res_blocks = {SMALL_VAE.num_res_blocks}

[tiny]
widths = [8, 8, 8]
head_width = 8
encoder_width = 8
blocks_per_stage = 1

[lora]
rank = {RANK}
alpha = {RANK}.0
"""


@dataclass(frozen=True)
class Release:
    """`source`: the folder that `download --from` takes files from; `presets`: the one with the preset."""

    source: Path
    presets: Path

    def file(self, role: str) -> Path:
        return self.source / FILES[role]


def write_release(folder: Path) -> Release:
    """All files of it. `folder` is new."""
    release = Release(folder / "source", folder / "presets")
    places = {role: release.file(role) for role in FILES}
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(places["transformer"].parent, random_weights(TRANSFORMER), name=places["transformer"].name)
    write_adapters(places["lora"].parent, _adapters(), name=places["lora"].name)
    write_tokenizer(places["tokenizer"])
    for role, tensors in (("text_encoder", _umt5()), ("vae", _vae()), ("tiny_decoder", _tiny())):
        torch.save(tensors, places[role])
    write_preset(release.presets, release.source)
    return release


def write_preset(folder: Path, files: Path) -> Path:
    """The preset of the files that lie in `files`, with their sizes and sums, in a folder of presets."""
    folder.mkdir(parents=True, exist_ok=True)
    preset = folder / f"{NAME}.toml"
    preset.write_text(_SIZES + "".join(_entry(role, files / name) for role, name in FILES.items()), encoding="utf-8")
    return preset


def _entry(role: str, file: Path) -> str:
    owner, repository, path = FILES[role].split("/", 2)
    content = file.read_bytes()
    lines = [f'role = "{role}"', f'repository = "{owner}/{repository}"', f'path = "{path}"']
    lines += [f"size = {len(content)}", f'sha256 = "{hashlib.sha256(content).hexdigest()}"']
    lines += [f'key = "{KEYS[role]}"'] if role in KEYS else []
    return "\n[[files]]\n" + "\n".join(lines) + "\n"


def _adapters() -> dict[str, torch.Tensor]:
    return {name: 0.1 * tensor for name, tensor in random_adapters(TRANSFORMER, rank=RANK).items()}


def _umt5() -> dict[str, torch.Tensor]:
    sizes = SMALL_UMT5
    model: Any = UMT5EncoderModel(
        UMT5Config(
            vocab_size=sizes.vocabulary,
            d_model=sizes.dim,
            d_kv=sizes.head_dim,
            d_ff=sizes.ffn_dim,
            num_layers=sizes.layers,
            num_heads=sizes.heads,
            relative_attention_num_buckets=sizes.buckets,
            relative_attention_max_distance=sizes.max_distance,
            feed_forward_proj="gated-gelu",
        )
    )
    fill(model)
    return {name: tensor.to(torch.bfloat16) for name, tensor in original_names(model.state_dict()).items()}


def _vae() -> dict[str, torch.Tensor]:
    model: Any = AutoencoderKLWan(
        base_dim=SMALL_VAE.dim, z_dim=SMALL_VAE.z_dim, num_res_blocks=SMALL_VAE.num_res_blocks
    )
    fill(model)
    return {original_name(name): tensor for name, tensor in model.state_dict().items()}


def _tiny() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return dict(TinyDecoder(TINY).state_dict())
