"""A complete small release, for tests: every file of a preset in the published layout, and the preset that names them.

The files are written with the libraries' own save functions, in folders as the hub's repositories have them. Sizes
are as small as the layouts allow; values are random and drawn from a seed.
"""

import hashlib
from pathlib import Path

import torch

from models.config import TransformerConfig
from models.pieces import stand_in_tokenizer
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from models.umt5 import Umt5Encoder
from models.wan_vae import WanVae
from tests.models.checkpoints import random_adapters, random_weights, write_adapters, write_checkpoint
from tests.models.pieces import SMALL_UMT5, SMALL_VAE, fill, write_tokenizer

NAME = "small-release"
TRANSFORMER = TransformerConfig(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, text_dim=SMALL_UMT5.dim, text_len=16, freq_dim=16
)
TINY = TinyDecoderConfig(widths=(6, 5, 4), head_width=4, blocks_per_stage=1)
FILES = {
    "transformer": "someone/video/models/base.pt",
    "lora": "someone/video/models/lora.pt",
    "text_encoder": "someone/base/encoder.pth",
    "tokenizer": "someone/base/tokenizer.json",
    "vae": "someone/base/vae.pth",
    "tiny_decoder": "someone/tiny/tiny.pth",
}
PRESET = f"""
extends = "wan2.1-1.3b"
name = "{NAME}"
title = "A small release"
dtype = "float32"
suggested_prompts = ["a red ball"]
[licence]
name = "Example-NC"
url = "https://example.org/licence"
commercial = false
accept_required = true
[transformer]
dim = {TRANSFORMER.dim}
ffn_dim = {TRANSFORMER.ffn_dim}
num_layers = {TRANSFORMER.num_layers}
num_heads = {TRANSFORMER.num_heads}
text_dim = {TRANSFORMER.text_dim}
text_len = {TRANSFORMER.text_len}
freq_dim = {TRANSFORMER.freq_dim}
[video]
width = 64
height = 64
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
widths = {list(TINY.widths)}
head_width = {TINY.head_width}
blocks_per_stage = {TINY.blocks_per_stage}
[lora]
rank = 3
alpha = 3
"""


def write_files(folder: Path) -> None:
    """The files as the hub has them, under `folder`."""
    places = {role: folder / name for role, name in FILES.items()}
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(places["transformer"].parent, random_weights(TRANSFORMER))
    adapters = {name: 0.1 * tensor for name, tensor in random_adapters(TRANSFORMER).items()}
    write_adapters(places["lora"].parent, adapters)
    write_tokenizer(places["tokenizer"])
    encoder = Umt5Encoder(SMALL_UMT5, stand_in_tokenizer(SMALL_UMT5), text_len=TRANSFORMER.text_len)
    vae, tiny = WanVae(SMALL_VAE), TinyDecoder(TINY)
    for module, role in ((encoder.model, "text_encoder"), (vae.model, "vae"), (tiny, "tiny_decoder")):
        fill(module)
        torch.save(module.state_dict(), places[role])


def write_preset(folder: Path, files: Path) -> Path:
    """The preset of the files that lie in `files`, with their sizes and sums, in a folder of presets."""
    text = PRESET
    for role, name in FILES.items():
        owner, repository, path = name.split("/", 2)
        content = (files / name).read_bytes()
        text += f'[[files]]\nrole = "{role}"\nrepository = "{owner}/{repository}"\npath = "{path}"\n'
        text += f'size = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    folder.mkdir(parents=True, exist_ok=True)
    preset = folder / f"{NAME}.toml"
    preset.write_text(text, encoding="utf-8")
    return preset
