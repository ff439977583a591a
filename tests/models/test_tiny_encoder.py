"""The tiny autoencoder's encoder half and the published file: names, numbers, and the clip as plain functions.

Small random weights stand for the published ones; a file of the published layout is written and loaded whole.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.tiny_decoder import TinyDecoder, TinyDecoderConfig, tiny_state_bytes
from models.vae import ClipEncoder
from tests.models.pieces import fill

SMALL = TinyDecoderConfig(latent_channels=4, widths=(12, 8, 6), head_width=6, encoder_width=6)


@pytest.fixture(scope="module")
def codec() -> TinyDecoder:
    made = TinyDecoder(SMALL)
    fill(made)
    return made


def random_clip(frames: int) -> Tensor:
    return torch.rand(frames, 3, 16, 24, generator=torch.Generator().manual_seed(2))


def plain_encode(weights: dict[str, Tensor], clip: Tensor) -> Tensor:
    """The published encoder as its description lists it, layer by layer over the whole clip."""

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = weights[f"encoder.{name}.weight"]
        bias = weights.get(f"encoder.{name}.bias")
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, stride=stride)

    def memory_block(index: int, x: Tensor) -> Tensor:
        earlier = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        y = F.relu(layer(f"{index}.conv.0", torch.cat([x, earlier], dim=1)))
        y = F.relu(layer(f"{index}.conv.2", y))
        return F.relu(layer(f"{index}.conv.4", y) + x)

    missing = -len(clip) % 4
    x = F.relu(layer("0", torch.cat([clip, clip[-1:].repeat(missing, 1, 1, 1)])))
    for first, times in ((2, 2), (7, 2), (12, 1)):
        x = layer(f"{first}.conv", x.reshape(len(x) // times, times * x.shape[1], *x.shape[2:]))
        x = layer(str(first + 1), x, stride=2)
        for index in range(first + 2, first + 5):
            x = memory_block(index, x)
    return layer("17", x)


@pytest.mark.parametrize("frames", [1, 5, 9, 21])
def test_encoded_piece_by_piece_as_the_whole_clip(codec: TinyDecoder, frames: int) -> None:
    clip = random_clip(frames)
    latents = codec.encode(clip)
    assert latents.shape == (1 + frames // 4, 4, 2, 3)
    assert float((latents - plain_encode(codec.state_dict(), clip)).abs().max()) < 1e-5
    assert latents.std() > 0.1


def test_it_is_an_encoder_for_beginnings(codec: TinyDecoder) -> None:
    assert isinstance(codec, ClipEncoder)
    latents = codec.encode(random_clip(9))
    assert sum(codec.frame_count(index) for index in range(len(latents))) == 9


@pytest.mark.parametrize("shape", [(8, 3, 16, 16), (9, 3, 12, 16), (9, 3, 16, 12), (9, 4, 16, 16), (9, 16, 16)])
def test_a_clip_of_other_sizes_is_refused(codec: TinyDecoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a clip \[1 \+ 4 k, 3, H, W\], H and W multiples of 8"):
        codec.encode(torch.zeros(shape))


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the published file, written out from its description."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, *, side: int = 3, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, side, side)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def memory(name: str, width: int) -> None:
        for place, inputs in ((0, 2 * width), (2, width), (4, width)):
            conv(f"{name}.conv.{place}", inputs, width)

    conv("encoder.0", 3, 64)
    for first, times in ((2, 2), (7, 2), (12, 1)):
        conv(f"encoder.{first}.conv", times * 64, 64, side=1, bias=False)
        conv(f"encoder.{first + 1}", 64, 64, bias=False)
        for index in range(first + 2, first + 5):
            memory(f"encoder.{index}", 64)
    conv("encoder.17", 64, 16)
    conv("decoder.1", 16, 256)
    for first, width, after, times in ((3, 256, 128, 1), (9, 128, 64, 2), (15, 64, 64, 2)):
        for index in range(first, first + 3):
            memory(f"decoder.{index}", width)
        conv(f"decoder.{first + 4}.conv", width, times * width, side=1, bias=False)
        conv(f"decoder.{first + 5}", width, after, bias=False)
    conv("decoder.22", 64, 3)
    return shapes


def test_a_file_of_the_published_layout_is_loaded_whole(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    written = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in published_shapes().items()}
    torch.save(written, tmp_path / "taew2_1.pth")
    read = torch.load(tmp_path / "taew2_1.pth", weights_only=True)
    with torch.device("meta"):
        codec = TinyDecoder()
    codec.load_state_dict(read, strict=True, assign=True)
    assert sum(parameter.numel() for parameter in codec.parameters()) == 9_844_611 + 1_470_928
    state = codec.start()
    latents = torch.randn(4, 16, 2, 2, generator=generator)
    counts = []
    for latent in latents:
        frames, state = codec.decode(latent, state)
        counts.append(len(frames))
    assert counts == [1, 4, 4, 4], "three frames are trimmed, once"


def test_the_state_takes_what_is_reckoned(codec: TinyDecoder) -> None:
    _, state = codec.decode(torch.zeros(4, 2, 3), codec.start())
    reckoned = tiny_state_bytes(SMALL, height=2, width=3, itemsize=4)
    assert sum(memory.nbytes for memory in state.memory) == reckoned
    # Of the published sizes, in half precision: 480x832.
    assert tiny_state_bytes(TinyDecoderConfig(), height=60, width=104, itemsize=2) == 67_092_480
