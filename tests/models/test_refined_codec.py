"""The refining decoder: as the linear one until trained, remembers its memory exactly, streams what a clip gives."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.errors import ConfigError
from models.refined_codec import RefinedCodec, RefinedCodecConfig
from models.vae import DecoderState, LinearCodec, LinearCodecConfig, StreamDecoder, rebuild_state

SMALL = RefinedCodecConfig(linear=LinearCodecConfig(channels=8), widths=(12, 8, 6), blocks=(1, 1, 1))


def trained(config: RefinedCodecConfig = SMALL) -> RefinedCodec:
    """A decoder whose network has a say."""
    generator = torch.Generator().manual_seed(3)
    codec = RefinedCodec(config)
    with torch.no_grad():
        codec.network.out.weight.normal_(std=0.05, generator=generator)
    return codec.eval().requires_grad_(False)


def latents_of(count: int) -> Tensor:
    return torch.randn(count, 8, 3, 4, generator=torch.Generator().manual_seed(5)) / 4


def streamed(codec: StreamDecoder, latents: Tensor) -> tuple[list[Tensor], list[DecoderState]]:
    frames, states = [], [codec.start()]
    for latent in latents:
        made, state = codec.decode(latent, states[-1])
        frames.append(made)
        states.append(state)
    return frames, states


def test_a_new_one_decodes_and_encodes_as_the_linear_codec() -> None:
    new = RefinedCodec(SMALL)
    linear = LinearCodec(SMALL.linear)
    linear.load_state_dict({name: tensor for name, tensor in new.state_dict().items() if "network" not in name})
    latents = latents_of(3)
    for made, expected in zip(streamed(new, latents)[0], streamed(linear, latents)[0], strict=True):
        torch.testing.assert_close(made, expected)
    clip = torch.rand(8, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(new.encode(clip), linear.encode(clip))


def test_a_stream_is_what_the_whole_clip_gives() -> None:
    codec, latents = trained(), latents_of(5)
    frames = torch.cat(streamed(codec, latents)[0])
    whole = codec.clip(latents[None])[0].flatten(0, 1).clamp(0, 1)
    torch.testing.assert_close(frames, whole)
    assert float((frames - torch.cat(streamed(RefinedCodec(SMALL), latents)[0])).abs().max()) > 0.01


def test_its_receptive_latents_are_exact() -> None:
    """That many rebuild the state bit for bit; of one fewer, the next picture is another."""
    codec, latents = trained(), latents_of(7)
    frames, states = streamed(codec, latents)
    needed = codec.receptive_latents
    assert needed == SMALL.memory == 2
    rebuilt = rebuild_state(codec, tuple(latents[5 - needed : 5]), position=5)
    assert rebuilt.latents == states[5].latents
    assert all(torch.equal(a, b) for a, b in zip(rebuilt.memory, states[5].memory, strict=True))
    assert torch.equal(codec.decode(latents[5], rebuilt)[0], frames[5])
    short = DecoderState(memory=states[5].memory[:1], latents=5)
    assert not torch.equal(codec.decode(latents[5], short)[0], frames[5])


def test_decode_leaves_the_state_as_it_was() -> None:
    codec, latents = trained(), latents_of(3)
    states = streamed(codec, latents)[1]
    copies = [tensor.clone() for tensor in states[2].memory]
    codec.decode(latents[2], states[2])
    assert all(torch.equal(a, b) for a, b in zip(copies, states[2].memory, strict=True))
    assert states[1].memory[0].data_ptr() != latents[0].data_ptr()


def test_the_first_frame_stands_alone_where_the_configuration_says_so() -> None:
    together, alone = trained(), RefinedCodec(replace(SMALL, first_alone=True))
    alone.load_state_dict(together.state_dict())
    latents = latents_of(2)
    assert [len(part) for part in streamed(together, latents)[0]] == [4, 4]
    frames = streamed(alone, latents)[0]
    assert [len(part) for part in frames] == [1, 4]
    assert [alone.frame_count(index) for index in range(3)] == [1, 4, 4]
    torch.testing.assert_close(frames[0], streamed(together, latents)[0][0][-1:])
    clip = torch.rand(9, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([clip[:1]] * 3 + [clip])
    assert torch.equal(alone.encode(clip), together.encode(padded))


def test_a_scene_does_not_change_its_size() -> None:
    codec = trained()
    _, state = codec.decode(latents_of(1)[0], codec.start())
    with pytest.raises(ValueError, match="scene's sizes"):
        codec.decode(torch.zeros(8, 4, 4), state)
    with pytest.raises(ValueError, match="8 channels"):
        codec.decode(torch.zeros(7, 3, 4), codec.start())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"widths": (8, 8, 0)}, "widths"),
        ({"blocks": (1, 1)}, "blocks"),
        ({"memory": -1}, "memory"),
        ({"linear": LinearCodecConfig(channels=8, side=6)}, "side"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(SMALL, **change)  # type: ignore[arg-type]
    assert caught.value.field == field
