"""How many floating point operations a pass takes, reckoned from sizes: a multiplication and an addition are two.

Matrix products and attention alone, as everybody counts them: what is between them is bound by memory. With these the
share of a device's rate can be told that a pass reaches. Formulas: sota.md section 3. Knows no device.
"""

from models.config import TransformerConfig
from models.presets import Preset


def pass_flops(config: TransformerConfig, *, queries: int, keys: int) -> int:
    """One pass of `queries` tokens that sees `keys` tokens, its own among them; the text's projections left out."""
    dim, layers = config.dim, config.num_layers
    linears = 2 * queries * (6 * dim * dim + 2 * dim * config.ffn_dim)
    attention = 4 * queries * dim * (keys + config.text_len)
    patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
    ends = 2 * queries * dim * patch * (config.in_channels + config.out_channels)
    return layers * (linears + attention) + ends


def block_flops(preset: Preset) -> int:
    """All passes of one block over a full window, the clean pass among them where there is one."""
    video, window = preset.video, preset.window
    per_frame = preset.transformer.tokens_per_frame(video.latent_height, video.latent_width)
    one = pass_flops(preset.transformer, queries=window.block_frames * per_frame, keys=window.slots * per_frame)
    return preset.sampler.passes * one
