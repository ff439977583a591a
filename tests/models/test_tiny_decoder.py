"""The tiny decoder, streamed, against the same network over a whole clip in plain functions.

Streamed equals whole, bit for bit where convolutions are given the same frames at a time; the receptive field
that restoring relies on is exact, not only large enough. Small random weights stand for the published ones.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.errors import ConfigError
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from models.vae import DecoderState, StreamDecoder, rebuild_state

SMALL = TinyDecoderConfig(latent_channels=4, widths=(12, 8, 6), head_width=6)


def small_decoder(config: TinyDecoderConfig = SMALL, *, seed: int = 0) -> TinyDecoder:
    """Weights with which what a memory holds reaches the pixels, and the pixels fill [0, 1]."""
    decoder = TinyDecoder(config).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in decoder.decoder.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        scale = 1.4 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
        parameter.data = values * scale
    *_, last_weight, last_bias = decoder.decoder.parameters()
    last_weight.data *= 0.05
    last_bias.data += 0.5
    return decoder


def random_latents(count: int, *, channels: int = 4, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, 4, 5, generator=generator, dtype=torch.float64)


def stream(decoder: StreamDecoder, latents: Tensor) -> tuple[list[Tensor], DecoderState]:
    state, clips = decoder.start(), []
    for latent in latents:
        pixels, state = decoder.decode(latent, state)
        clips.append(pixels)
    return clips, state


Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def whole_clip(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)


def one_latent_at_a_time(count: int) -> Convolution:
    """The same, given the frames of one latent frame at a time."""
    return lambda x, weight, bias: torch.cat([whole_clip(part, weight, bias) for part in x.chunk(count)])


def plain_decode(weights: dict[str, Tensor], latents: Tensor, convolve: Convolution) -> Tensor:
    """The published decoder as its description lists it, layer by layer over the whole clip."""

    def layer(name: str, x: Tensor) -> Tensor:
        return convolve(x, weights[f"decoder.{name}.weight"], weights.get(f"decoder.{name}.bias"))

    def memory_block(index: int, x: Tensor) -> Tensor:
        earlier = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        y = F.relu(layer(f"{index}.conv.0", torch.cat([x, earlier], dim=1)))
        y = F.relu(layer(f"{index}.conv.2", y))
        return F.relu(layer(f"{index}.conv.4", y) + x)

    x = F.relu(layer("1", 3 * torch.tanh(latents / 3)))
    for first, times in ((3, 1), (9, 2), (15, 2)):
        for index in range(first, first + 3):
            x = memory_block(index, x)
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        grown = layer(f"{first + 4}.conv", x)
        x = torch.stack(grown.chunk(times, dim=1), dim=1).flatten(0, 1)
        x = layer(str(first + 5), x)
    return layer("22", F.relu(x))[3:].clamp(0, 1)


def test_streamed_equals_the_whole_clip() -> None:
    decoder, latents = small_decoder(), random_latents(11)
    whole = plain_decode(decoder.state_dict(), latents, whole_clip)
    streamed = torch.cat(stream(decoder, latents)[0])
    assert streamed.shape == whole.shape == (1 + 4 * 10, 3, 32, 40)
    assert ((whole > 0) & (whole < 1)).float().mean() > 0.5
    assert whole.std(dim=0).mean() > 0.05
    # Computed in float64, given as float32: they differ by its last place at most.
    assert (streamed.double() - whole).abs().max() < 2**-24


def test_streamed_equals_the_whole_clip_bit_for_bit() -> None:
    decoder, latents = small_decoder().float(), random_latents(11).float()
    whole = plain_decode(decoder.state_dict(), latents, one_latent_at_a_time(11))
    assert torch.equal(torch.cat(stream(decoder, latents)[0]), whole)


def test_a_clip_that_ends_earlier_is_the_beginning_of_a_longer_one() -> None:
    decoder, latents = small_decoder().float(), random_latents(9).float()
    longer, _ = stream(decoder, latents)
    shorter, _ = stream(decoder, latents[:6])
    assert all(torch.equal(a, b) for a, b in zip(shorter, longer[:6], strict=True))


def test_frames_of_a_scene() -> None:
    decoder = small_decoder()
    clips, state = stream(decoder, random_latents(5))
    assert [len(clip) for clip in clips] == [1, 4, 4, 4, 4]
    assert [decoder.frame_count(index) for index in range(5)] == [1, 4, 4, 4, 4]
    assert sum(len(clip) for clip in clips) == 1 + 4 * (5 - 1)
    assert (state.latents, len(state.memory)) == (5, 9)
    assert all(clip.dtype == torch.float32 for clip in clips)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        decoder.frame_count(-1)


def test_two_streams_in_turn_are_each_as_if_alone() -> None:
    decoder = small_decoder().float()
    first, second = random_latents(8, seed=1).float(), random_latents(8, seed=2).float()
    alone = [stream(decoder, first)[0], stream(decoder, second)[0]]
    states = [decoder.start(), decoder.start()]
    for index in range(8):
        for place, latents in enumerate((first, second)):
            pixels, states[place] = decoder.decode(latents[index], states[place])
            assert torch.equal(pixels, alone[place][index])


def test_decoding_changes_no_state() -> None:
    decoder, latents = small_decoder(), random_latents(4)
    _, state = stream(decoder, latents[:3])
    before = [memory.clone() for memory in state.memory]
    once, after = decoder.decode(latents[3], state)
    again, _ = decoder.decode(latents[3], state)
    assert torch.equal(once, again)
    assert state.latents == 3
    assert all(torch.equal(a, b) for a, b in zip(before, state.memory, strict=True))
    # Each memory is its own frame, not a view that keeps a whole layer alive.
    for memory in after.memory:
        assert memory.untyped_storage().nbytes() == memory.numel() * memory.element_size()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SMALL, 8),
        (TinyDecoderConfig(4, widths=(8, 8, 8), head_width=6, blocks_per_stage=1), 3),
        (TinyDecoderConfig(4, widths=(8, 8), head_width=6, grow=(2, 2)), 5),
        (TinyDecoderConfig(4, widths=(8, 8), head_width=6, grow=(2, 2), blocks_per_stage=1), 2),
        (TinyDecoderConfig(4, widths=(8,), head_width=6, grow=(4,)), 3),
    ],
)
def test_the_receptive_field_is_exact(config: TinyDecoderConfig, expected: int) -> None:
    decoder = small_decoder(config).float()
    assert decoder.receptive_latents == expected
    latents = random_latents(expected + 4).float()
    _, whole = stream(decoder, latents)
    _, enough = stream(decoder, latents[-expected:])
    _, too_few = stream(decoder, latents[1 - expected :])
    assert all(torch.equal(a, b) for a, b in zip(whole.memory, enough.memory, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(whole.memory, too_few.memory, strict=True))


@pytest.mark.parametrize("position", [0, 1, 5, 8, 12])
def test_a_rebuilt_state_goes_on_as_if_nothing_had_happened(position: int) -> None:
    decoder, latents = small_decoder().float(), random_latents(14).float()
    clips, _ = stream(decoder, latents)
    needed = list(latents[max(0, position - decoder.receptive_latents) : position])
    state = rebuild_state(decoder, needed, position=position)
    assert state.latents == position
    for index in range(position, 14):
        pixels, state = decoder.decode(latents[index], state)
        assert torch.equal(pixels, clips[index])


def test_a_rebuild_in_the_middle_is_never_a_first_latent() -> None:
    decoder, latents = small_decoder(), random_latents(1)
    pixels, state = decoder.decode(latents[0], DecoderState(memory=(), latents=4))
    assert (len(pixels), state.latents) == (4, 5)


def test_a_rebuild_with_the_wrong_number_of_latents_is_refused() -> None:
    decoder, latents = small_decoder(), random_latents(9)
    with pytest.raises(ValueError, match="expected the 8 latent frames before latent frame 9, got 7"):
        rebuild_state(decoder, list(latents[:7]), position=9)


def test_the_published_layout() -> None:
    with torch.device("meta"):
        decoder = TinyDecoder()
    shapes = {name: tuple(tensor.shape) for name, tensor in decoder.decoder.state_dict(prefix="decoder.").items()}
    stages = ((3, 256, 128, 1), (9, 128, 64, 2), (15, 64, 64, 2))
    expected: dict[str, tuple[int, ...]] = {
        "decoder.1.weight": (256, 16, 3, 3),
        "decoder.1.bias": (256,),
        "decoder.22.weight": (3, 64, 3, 3),
        "decoder.22.bias": (3,),
    }
    for first, width, after, times in stages:
        for index in range(first, first + 3):
            for place, inputs in ((0, 2 * width), (2, width), (4, width)):
                expected[f"decoder.{index}.conv.{place}.weight"] = (width, inputs, 3, 3)
                expected[f"decoder.{index}.conv.{place}.bias"] = (width,)
        expected[f"decoder.{first + 4}.conv.weight"] = (times * width, width, 1, 1)
        expected[f"decoder.{first + 5}.weight"] = (after, width, 3, 3)
    assert shapes == expected
    assert sum(tensor.numel() for tensor in decoder.decoder.parameters()) == 9_844_611
    assert decoder.receptive_latents == 8


def test_a_latent_of_other_sizes_is_refused() -> None:
    decoder, latents = small_decoder(), random_latents(2)
    with pytest.raises(ValueError, match=r"expected a latent frame \[4, H, W\], got \[3, 4, 5\]"):
        decoder.decode(latents[0, :3], decoder.start())
    with pytest.raises(ValueError, match=r"expected a latent frame \[4, H, W\], got \[2, 4, 4, 5\]"):
        decoder.decode(latents, decoder.start())
    _, state = decoder.decode(latents[0], decoder.start())
    with pytest.raises(ValueError, match=r"height and width \[4, 5\], got \[4, 4\]"):
        decoder.decode(latents[1, :, :, :4], state)
    with pytest.raises(ValueError, match="expected 9 memories, got 8"):
        decoder.decode(latents[1], DecoderState(state.memory[:8], latents=1))


@pytest.mark.parametrize(
    ("widths", "grow", "channels"),
    [((), (), 4), ((4, 4), (1, 2, 2), 4), ((4, 0, 4), (1, 2, 2), 4), ((4, 4, 4), (1, 2), 4), ((4,), (4,), 0)],
)
def test_sizes_that_cannot_be_are_refused(*, widths: tuple[int, ...], grow: tuple[int, ...], channels: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        TinyDecoderConfig(channels, widths=widths, grow=grow)
