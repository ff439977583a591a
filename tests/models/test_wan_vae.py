"""The streamed VAE against the library's one-shot decode and encode, bit for bit, and against its own renaming.

Small random weights stand for the published ones; sizes are checked at the published configuration without weights.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from torch import Tensor

from models.config import WanVaeConfig
from models.errors import ConfigError
from models.vae import ClipEncoder, DecoderState, StreamDecoder, rebuild_state
from models.wan_vae import WanVae, receptive_latents, vae_state_bytes, wan_vae_name
from tests.models.pieces import SMALL_VAE, fill

MEAN, STD = (torch.tensor(values)[:, None, None] for values in (SMALL_VAE.mean, SMALL_VAE.std))


@pytest.fixture(scope="module")
def vae() -> WanVae:
    made = WanVae(SMALL_VAE)
    fill(made.model)
    return made


def random_latents(count: int, *, seed: int = 1) -> Tensor:
    return torch.randn(count, 16, 4, 4, generator=torch.Generator().manual_seed(seed))


def one_shot(vae: WanVae, latents_FCHW: Tensor) -> Tensor:
    """The library's own decode of a whole clip, as a published pipeline calls it."""
    raw = latents_FCHW * STD + MEAN
    with torch.no_grad():
        sample = vae.model.decode(raw.transpose(0, 1)[None]).sample[0].transpose(0, 1)
    frames: Tensor = (sample + 1) / 2
    return frames


def stream(decoder: StreamDecoder, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
    state = state or decoder.start()
    clips = []
    for latent in latents:
        pixels, state = decoder.decode(latent, state)
        clips.append(pixels)
    return torch.cat(clips), state


def cuts(count: int) -> Iterator[tuple[int, ...]]:
    """Every way of cutting `count` latent frames into blocks."""
    for mask in range(2 ** (count - 1)):
        yield (0, *(place + 1 for place in range(count - 1) if mask >> place & 1), count)


def test_streamed_equals_the_library_exactly_however_the_clip_is_cut(vae: WanVae) -> None:
    latents = random_latents(6)
    whole = one_shot(vae, latents)
    assert whole.shape == (1 + 4 * 5, 3, 32, 32)
    assert ((whole > 0) & (whole < 1)).float().mean() > 0.5
    ways = list(cuts(6))
    assert len(ways) == 32
    for places in ways:
        state, blocks = vae.start(), []
        for first, end in pairwise(places):
            frames, state = stream(vae, latents[first:end], state)
            blocks.append(frames)
        assert torch.equal(torch.cat(blocks), whole)


def test_two_streams_in_turn_are_each_as_if_alone(vae: WanVae) -> None:
    first, second = random_latents(6, seed=1), random_latents(6, seed=2)
    frames: list[list[Tensor]] = [[], []]
    states = [vae.start(), vae.start()]
    for index in range(6):
        for place, latents in enumerate((first, second)):
            pixels, states[place] = vae.decode(latents[index], states[place])
            frames[place].append(pixels)
    assert torch.equal(torch.cat(frames[0]), one_shot(vae, first))
    assert torch.equal(torch.cat(frames[1]), one_shot(vae, second))
    assert not torch.equal(torch.cat(frames[0]), torch.cat(frames[1]))


def test_the_library_and_a_stream_do_not_disturb_each_other(vae: WanVae) -> None:
    latents = random_latents(4)
    before, state = stream(vae, latents[:2])
    whole = one_shot(vae, latents)
    after, _ = stream(vae, latents[2:], state)
    assert torch.equal(torch.cat([before, after]), whole)


def test_decoding_changes_no_state(vae: WanVae) -> None:
    latents = random_latents(4)
    for count in (0, 1, 2, 3):
        state = stream(vae, latents[:count])[1] if count else vae.start()
        kept = [memory.clone() for memory in state.memory]
        once, after = vae.decode(latents[3], state)
        again, _ = vae.decode(latents[3], state)
        assert torch.equal(once, again)
        assert (state.latents, after.latents) == (count, count + 1)
        assert all(torch.equal(a, b) for a, b in zip(kept, state.memory, strict=True))


def test_frames_of_a_scene(vae: WanVae) -> None:
    assert isinstance(vae, ClipEncoder)
    assert [vae.frame_count(index) for index in range(4)] == [1, 4, 4, 4]
    with pytest.raises(ValueError, match="0 or more, got -1"):
        vae.frame_count(-1)


def test_the_receptive_field_is_exact(vae: WanVae) -> None:
    """A value that is not a number spreads to all that depends on it, however little it would weigh."""
    reach = vae.receptive_latents
    assert reach == 30
    for distance, felt in ((reach, False), (reach - 1, True)):
        latents = random_latents(reach + 3)
        latents[len(latents) - 1 - distance] = float("nan")
        _, state = stream(vae, latents)
        assert any(bool(memory.isnan().any()) for memory in state.memory) is felt


@pytest.mark.parametrize("position", [0, 1, 2, 7, 30, 31, 40])
def test_a_rebuilt_state_is_the_one_of_the_live_stream(vae: WanVae, position: int) -> None:
    latents = random_latents(position + 2)
    _, live = stream(vae, latents[:position]) if position else (None, vae.start())
    rebuilt = rebuild_state(vae, list(latents[max(0, position - vae.receptive_latents) : position]), position=position)
    assert rebuilt.latents == live.latents
    assert all(torch.equal(a, b) for a, b in zip(live.memory, rebuilt.memory, strict=True))
    assert torch.equal(stream(vae, latents[position:], live)[0], stream(vae, latents[position:], rebuilt)[0])


def test_a_rebuild_in_the_middle_is_never_a_first_latent(vae: WanVae) -> None:
    pixels, state = vae.decode(random_latents(1)[0], DecoderState(memory=(), latents=5))
    assert (len(pixels), state.latents) == (4, 6)


def test_encoding_is_that_of_the_library(vae: WanVae) -> None:
    clip = torch.rand(13, 3, 32, 40, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        raw = vae.model.encode((2 * clip - 1).transpose(0, 1)[None]).latent_dist.mode()[0].transpose(0, 1)
    latents = vae.encode(clip)
    assert latents.shape == (4, 16, 4, 5)
    assert float((latents - (raw - MEAN) / STD).abs().max()) < 2e-6
    assert latents.std() > 0.1
    assert torch.equal(vae.encode(clip[:9]), latents[:3]), "a shorter clip is the beginning of a longer one"


@pytest.mark.parametrize("shape", [(8, 3, 32, 32), (9, 3, 30, 32), (9, 3, 32, 30), (9, 1, 32, 32), (9, 32, 32)])
def test_a_clip_of_other_sizes_is_refused(vae: WanVae, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a clip \[1 \+ 4 k, 3, H, W\]"):
        vae.encode(torch.zeros(shape))


def test_a_latent_of_other_sizes_is_refused(vae: WanVae) -> None:
    latents = random_latents(2)
    _, state = vae.decode(latents[0], vae.start())
    with pytest.raises(ValueError, match=r"expected a latent frame \[16, H, W\], got \[3, 4, 4\]"):
        vae.decode(latents[1][:3], state)
    with pytest.raises(ValueError, match=r"height and width \[4, 4\], got \[4, 3\]"):
        vae.decode(latents[1][:, :, :3], state)
    with pytest.raises(ValueError, match="expected 24 memories, got 23"):
        vae.decode(latents[1], DecoderState(state.memory[:23], latents=1))


def test_the_published_sizes() -> None:
    with torch.device("meta"):
        vae = WanVae()
    assert sum(parameter.numel() for parameter in vae.model.parameters()) == 126_892_531
    # As the published slots add up: 944.3 million numbers for 480x832.
    assert vae_state_bytes(vae.config, height=60, width=104, itemsize=2) == 2 * 944_286_720
    assert vae.receptive_latents == 38


def test_the_state_takes_what_is_reckoned(vae: WanVae) -> None:
    _, state = stream(vae, random_latents(3))
    reckoned = vae_state_bytes(SMALL_VAE, height=4, width=4, itemsize=4)
    assert sum(memory.nbytes for memory in state.memory) == reckoned
    # Each memory is its own, not a view that keeps a whole layer alive.
    assert sum(memory.untyped_storage().nbytes() for memory in state.memory) == reckoned


def original_name(name: str) -> str:
    """The original name of one of the library's, for any number of residual blocks in a stage."""
    head, _, tail = name.partition(".")
    if head in ("quant_conv", "post_quant_conv"):
        return f"{'conv1' if head == 'quant_conv' else 'conv2'}.{tail}"
    for own, old in (("conv_in", "conv1"), ("norm_out", "head.0"), ("conv_out", "head.2")):
        tail = tail.replace(own, old) if tail.startswith(own) else tail
    places = {"mid_block.resnets.0.": "middle.0.", "mid_block.attentions.0.": "middle.1."}
    places |= {"mid_block.resnets.1.": "middle.2.", "down_blocks.": "downsamples."}
    per_stage = SMALL_VAE.num_res_blocks + 2
    for stage in range(4):
        for place in range(per_stage - 1):
            places[f"up_blocks.{stage}.resnets.{place}."] = f"upsamples.{per_stage * stage + place}."
        places[f"up_blocks.{stage}.upsamplers.0."] = f"upsamples.{per_stage * (stage + 1) - 1}."
    for own, old in places.items():
        tail = old + tail.removeprefix(own) if tail.startswith(own) else tail
    inner = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    if "samples." in tail or tail.startswith("middle."):
        part, number, rest = tail.split(".", 2)
        first, _, last = rest.partition(".")
        first = "shortcut" if first == "conv_shortcut" else inner.get(first, first)
        tail = f"{part}.{number}.{first}.{last}"
    return f"{head}.{tail}"


def test_names_of_the_published_file_are_brought_to_the_library_s() -> None:
    """The library's own conversion of original files is the judge."""
    with torch.device("meta"):
        library: Any = AutoencoderKLWan()
    state = library.state_dict()
    # Its names go back to the original's by trying out which of those it converts to them.
    numbers = [f"{part}.{n}" for part, count in (("downsamples", 11), ("upsamples", 15)) for n in range(count)]
    numbers += [f"middle.{n}" for n in range(3)]
    inners = ["residual.0.gamma", "residual.3.gamma", "norm.gamma"]
    for inner in ("residual.2", "residual.6", "shortcut", "resample.1", "time_conv", "to_qkv", "proj"):
        inners += [f"{inner}.weight", f"{inner}.bias"]
    names = [f"{side}.{number}.{inner}" for side in ("encoder", "decoder") for number in numbers for inner in inners]
    ends = ("conv1.weight", "conv1.bias", "head.0.gamma", "head.2.weight", "head.2.bias")
    names += [f"{side}.{end}" for side in ("encoder", "decoder") for end in ends]
    names += [f"{whole}.{kind}" for whole in ("conv1", "conv2") for kind in ("weight", "bias")]
    real = [name for name in names if wan_vae_name(name) in state]
    assert len(real) == len(state) == 194
    marks = {name: torch.tensor(float(number)) for number, name in enumerate(real)}
    converted = convert_wan_vae_to_diffusers(dict(marks))
    assert {wan_vae_name(name): value for name, value in marks.items()} == converted


def test_both_layouts_give_the_same_frames(vae: WanVae) -> None:
    state = vae.model.state_dict()
    original = {original_name(name): tensor for name, tensor in state.items()}
    assert len(original) == len(state)
    assert not any("block" in name for name in original)
    latents = random_latents(3)
    for tensors in (state, original):
        with torch.device("meta"):
            loaded = WanVae(SMALL_VAE)
        named = {loaded.own_name(name): tensor for name, tensor in tensors.items()}
        loaded.model.load_state_dict(named, strict=True, assign=True)
        assert torch.equal(stream(loaded, latents)[0], stream(vae, latents)[0])


def test_half_precision_keeps_the_statistics_whole(vae: WanVae) -> None:
    half = WanVae(SMALL_VAE)
    half.model.load_state_dict(vae.model.state_dict())
    half.to(torch.bfloat16)
    latents = random_latents(3)
    frames, state = stream(half, latents)
    assert frames.dtype == torch.float32
    assert {memory.dtype for memory in state.memory} == {torch.bfloat16}
    assert 0 < float((frames - one_shot(vae, latents)).abs().mean()) < 0.02
    assert half.encode(torch.rand(9, 3, 32, 32)).dtype == torch.float32


def test_another_number_of_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match="must have 4 stages, not 3"):
        WanVae(WanVaeConfig(dim=4, dim_mult=(1, 2, 4)))
    assert receptive_latents(WanVaeConfig(num_res_blocks=1)) == 30
