"""The transformer: published names and sizes, its formulas written out plainly, and what is and is not felt."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention import FullAttention, reference_attention
from models.config import Prediction, TransformerConfig
from models.errors import ConfigError
from models.pieces import randomise
from models.presets import DEMO, LONGLIVE_1_3B, WAN_14B
from models.transformer import PassContext, RMSNorm, Transformer, sinusoid

KEYS = Path(__file__).parent / "wan2.1_t2v_1.3b_keys.json"
HEIGHT, WIDTH = 4, 6


def small(prediction: Prediction = "flow", position: tuple[int, int] | None = None) -> Transformer:
    config = TransformerConfig(
        dim=36,
        ffn_dim=40,
        num_layers=2,
        num_heads=3,
        text_dim=7,
        text_len=5,
        in_channels=3,
        out_channels=4,
        freq_dim=10,
        prediction=prediction,
        learned_position=position,
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = Transformer(config)
        randomise(model)
    return model.eval().requires_grad_(False)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(model: Transformer, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
    rope = model.rope(range(latents.shape[1]), height=latents.shape[-2], width=latents.shape[-1])
    context = PassContext(rope, model.embed_text(text), FullAttention("reference"), "reference")
    out: Tensor = model(latents, time=model.embed_time(timestep), context=context)
    return out


# Names and sizes


def on_meta(config: TransformerConfig) -> Transformer:
    with torch.device("meta"):
        return Transformer(config)


def test_published_names_and_shapes() -> None:
    published = {name: tuple(shape) for name, shape in json.loads(KEYS.read_text()).items()}
    ours = {name: tuple(tensor.shape) for name, tensor in on_meta(LONGLIVE_1_3B.transformer).state_dict().items()}
    assert ours == published
    assert len(ours) == 825
    assert sum(math.prod(shape) for shape in ours.values()) == 1_418_996_800


def test_the_larger_size() -> None:
    assert sum(parameter.numel() for parameter in on_meta(WAN_14B.transformer).parameters()) == 14_288_491_584


def test_the_demo_adds_two_tensors() -> None:
    demo = on_meta(DEMO.transformer).state_dict()
    rows, columns = DEMO.transformer.token_grid(DEMO.video.latent_height, DEMO.video.latent_width)
    assert demo["pos_embed"].shape == (rows * columns, DEMO.transformer.dim)
    assert demo["data_std"].shape == (DEMO.video.latent_channels,)
    published = json.loads(KEYS.read_text())
    layers = {name.split(".")[1] for name in demo if name.startswith("blocks.")}
    assert layers == {str(number) for number in range(DEMO.transformer.num_layers)}
    of_a_block = {name for name in demo if name.startswith("blocks.0.")}
    assert of_a_block == {name for name in published if name.startswith("blocks.0.")}
    others = {name for name in published if not name.startswith("blocks.")}
    assert {name for name in demo if not name.startswith("blocks.")} == others | {"pos_embed", "data_std"}


def test_the_device_and_dtype_are_those_of_the_weights() -> None:
    model = on_meta(DEMO.transformer).to(torch.bfloat16)
    assert (model.device.type, model.dtype) == ("meta", torch.bfloat16)


# Formulas


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def turned(x: Tensor, frames: int) -> Tensor:
    """Complex rotary positions of [N, heads, 12]: two pairs each for time, row and column."""
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], 6, 2))
    rows, columns = HEIGHT // 2, WIDTH // 2
    places = torch.cartesian_prod(torch.arange(frames), torch.arange(rows), torch.arange(columns)).double()
    frequencies = torch.tensor([1.0, 0.01], dtype=torch.float64)
    angles = (places[:, :, None] * frequencies).flatten(1)
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)[:, None]).flatten(-2)


def attend(state: dict[str, Tensor], name: str, x: Tensor, *, context: Tensor | None, frames: int) -> Tensor:
    source = x if context is None else context
    q = rms_norm(linear(state, f"{name}.q", x), state[f"{name}.norm_q.weight"]).view(-1, 3, 12)
    k = rms_norm(linear(state, f"{name}.k", source), state[f"{name}.norm_k.weight"]).view(-1, 3, 12)
    v = linear(state, f"{name}.v", source).view(-1, 3, 12)
    if context is None:
        q, k = turned(q, frames), turned(k, frames)
    return linear(state, f"{name}.o", reference_attention(q[None], k[None], v[None])[0].flatten(1))


def plainly(model: Transformer, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
    """The forward pass of one video [F, C, H, W] by the published formulas, in float64 and without tricks."""
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    frames, tokens = latents.shape[0], HEIGHT * WIDTH // 4
    x = F.conv3d(
        latents.double().transpose(0, 1)[None],
        state["patch_embedding.weight"],
        state["patch_embedding.bias"],
        stride=(1, 2, 2),
    )
    x = x[0].flatten(1).T
    if "pos_embed" in state:
        x = x + state["pos_embed"].repeat(frames, 1)
    angles = timestep.double()[:, None] * 10_000.0 ** (-torch.arange(5, dtype=torch.float64) / 5)
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    time = linear(state, "time_embedding.2", F.silu(linear(state, "time_embedding.0", waves)))
    six = linear(state, "time_projection.1", F.silu(time)).view(frames, 6, 36)
    context = linear(
        state, "text_embedding.2", F.gelu(linear(state, "text_embedding.0", text.double()), approximate="tanh")
    )
    for name in ("blocks.0", "blocks.1"):
        modulation = (state[f"{name}.modulation"] + six).repeat_interleave(tokens, dim=0)
        shift_sa, scale_sa, gate_sa, shift_ff, scale_ff, gate_ff = modulation.unbind(1)
        hidden = layer_norm(x) * (1 + scale_sa) + shift_sa
        x = x + gate_sa * attend(state, f"{name}.self_attn", hidden, context=None, frames=frames)
        normed = layer_norm(x) * state[f"{name}.norm3.weight"] + state[f"{name}.norm3.bias"]
        x = x + attend(state, f"{name}.cross_attn", normed, context=context, frames=frames)
        hidden = layer_norm(x) * (1 + scale_ff) + shift_ff
        update = linear(state, f"{name}.ffn.2", F.gelu(linear(state, f"{name}.ffn.0", hidden), approximate="tanh"))
        x = x + gate_ff * update
    shift, scale = (state["head.modulation"] + time[:, None]).repeat_interleave(tokens, dim=0).unbind(1)
    return unpatchify(linear(state, "head.head", layer_norm(x) * (1 + scale) + shift), frames)


def unpatchify(patches: Tensor, frames: int) -> Tensor:
    """64 numbers of the published size are (row of the patch, column of the patch, channel): channels fastest."""
    out = torch.empty(frames, 4, HEIGHT, WIDTH, dtype=patches.dtype)
    for token, patch in enumerate(patches):
        frame, place = divmod(token, HEIGHT * WIDTH // 4)
        row, column = divmod(place, WIDTH // 2)
        for inner_row in range(2):
            for inner_column in range(2):
                channels = patch[(inner_row * 2 + inner_column) * 4 :][:4]
                out[frame, :, 2 * row + inner_row, 2 * column + inner_column] = channels
    return out


@pytest.mark.parametrize("position", [None, (2, 3)])
def test_as_the_published_formulas(position: tuple[int, int] | None) -> None:
    model = small(position=position)
    for norm in (module for module in model.modules() if isinstance(module, RMSNorm)):
        norm.weight.copy_(1 + draw(36, seed=3) / 5)
    latents, text = draw(2, 3, 3, HEIGHT, WIDTH), draw(2, 5, 7, seed=1)
    timestep = torch.tensor([[0.0, 625.0, 1000.0], [937.5, 3.25, 500.0]])
    out = run(model, latents, timestep, text)
    assert out.shape == (2, 3, 4, HEIGHT, WIDTH)
    for number in range(2):
        expected = plainly(model, latents[number], timestep[number], text[number])
        assert expected.abs().mean() > 0.1
        assert (out[number] - expected).abs().max() < 1e-5


def test_patches_are_embedded_as_the_convolution_does() -> None:
    model = small()
    seen: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    latents = draw(2, 3, 3, HEIGHT, WIDTH)
    run(model, latents, torch.tensor([[5.0]]), draw(2, 5, 7))
    convolved = model.patch_embedding(latents.transpose(1, 2)).flatten(2).transpose(1, 2)
    assert (seen[0] - convolved).abs().max() < 1e-5


def test_waves_of_a_timestep() -> None:
    waves = sinusoid(torch.tensor([[0.0, 1.0]]), 256)
    assert waves.dtype == torch.float64
    assert waves.shape == (1, 2, 256)
    assert torch.equal(waves[0, 0], torch.cat([torch.ones(128), torch.zeros(128)]).double())
    assert waves[0, 1, 0].item() == pytest.approx(math.cos(1))
    assert waves[0, 1, 128].item() == pytest.approx(math.sin(1))
    assert waves[0, 1, 127].item() == pytest.approx(math.cos(10_000 ** (-127 / 128)))


def test_the_norm_multiplies_in_the_dtype_of_the_activations() -> None:
    norm = RMSNorm(8, 1e-6).to(torch.bfloat16)
    norm.weight.data.copy_(1 + draw(8) / 3)
    x = (1000 * draw(4, 8, seed=1)).to(torch.bfloat16)
    normed = (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)).to(torch.bfloat16)
    assert torch.equal(norm(x), normed * norm.weight)


# What is felt


def test_one_timestep_for_all_frames() -> None:
    """[B, 1] gives what [B, F] of equal timesteps gives."""
    model = small()
    latents, text = draw(2, 3, 3, HEIGHT, WIDTH), draw(2, 5, 7, seed=1)
    for timestep in (0.0, 625.0, 1000.0):
        shared = run(model, latents, torch.full((2, 1), timestep), text)
        single = run(model, latents, torch.full((2, 3), timestep), text)
        assert (shared - single).abs().max() < 1e-5
    other = run(model, latents, torch.tensor([[1000.0, 1000.0, 999.0]] * 2), text)
    assert not torch.allclose(other, single)


def test_padding_of_the_text_is_attended() -> None:
    """Rows past the prompt's length are keys like any other, as the weights were trained."""
    model = small()
    latents, timestep = draw(1, 2, 3, HEIGHT, WIDTH), torch.tensor([[500.0]])
    text = draw(1, 5, 7, seed=1)
    text[:, 2:] = 0
    padded = run(model, latents, timestep, text)
    changed = text.clone()
    changed[:, 4] = 1
    assert (run(model, latents, timestep, changed) - padded).abs().max() > 1e-4
    keys, _ = model.embed_text(text).layer(1)
    assert keys.shape == (1, 5, 3, 12)
    assert keys[:, 4].abs().sum() > 0, "a row of zeros becomes a constant, not nothing"
    assert torch.equal(keys[:, 3], keys[:, 4])


def test_text_of_another_length_is_refused_loudly() -> None:
    model = small()
    with pytest.raises(AssertionError):
        model.embed_text(draw(1, 4, 7))
    with pytest.raises(AssertionError):
        model.embed_text(draw(1, 5, 6))


def test_text_is_embedded_for_every_layer() -> None:
    model = small()
    text = draw(1, 5, 7)
    made = model.embed_text(text)
    hidden = model.text_embedding(text)
    for layer, block in enumerate(model.blocks):
        keys, values = made.layer(layer)
        assert torch.equal(keys, block.cross_attn.keys(hidden))
        assert torch.equal(values, block.cross_attn.values(hidden))


def test_gradients_reach_the_text_and_every_weight() -> None:
    model = small("edm_x0", position=(2, 3)).requires_grad_(True).train()
    text = draw(2, 5, 7, seed=1).requires_grad_()
    latents = draw(2, 3, 3, HEIGHT, WIDTH).requires_grad_()
    run(model, latents, torch.tensor([[5.0], [900.0]]), text).square().sum().backward()
    assert text.grad is not None
    assert bool((text.grad.abs().sum(-1) > 0).all()), "of every row, padding included"
    assert latents.grad is not None
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_streams_of_a_batch_do_not_mix() -> None:
    model = small()
    latents, text, timestep = draw(2, 2, 3, HEIGHT, WIDTH), draw(2, 5, 7, seed=1), torch.tensor([[5.0], [900.0]])
    together = run(model, latents, timestep, text)
    for number in range(2):
        one = slice(number, number + 1)
        assert (run(model, latents[one], timestep[one], text[one]) - together[one]).abs().max() < 1e-5


@pytest.mark.parametrize(("height", "width", "field"), [(5, 6, "height"), (4, 7, "width"), (0, 6, "height")])
def test_pictures_that_patches_do_not_tile_are_refused(height: int, width: int, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small().rope([0], height=height, width=width)
    assert caught.value.field == field
