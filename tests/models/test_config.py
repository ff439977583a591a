"""Sizes that do not fit are refused by name; sizes that follow from others are derived, not said."""

from dataclasses import FrozenInstanceError, replace

import pytest

from models.config import SamplerConfig, TransformerConfig, VideoConfig
from models.errors import ConfigError

SMALL = TransformerConfig(dim=24, ffn_dim=32, num_layers=2, num_heads=2, text_dim=8, text_len=6)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("dim", {"dim": 0}),
        ("dim", {"dim": -24}),
        ("ffn_dim", {"ffn_dim": 0}),
        ("num_layers", {"num_layers": 0}),
        ("num_heads", {"num_heads": 0}),
        ("num_heads", {"num_heads": 5}),
        ("num_heads", {"num_heads": 8}),
        ("text_dim", {"text_dim": 0}),
        ("text_len", {"text_len": 0}),
        ("in_channels", {"in_channels": 0}),
        ("out_channels", {"out_channels": -1}),
        ("freq_dim", {"freq_dim": 15}),
        ("freq_dim", {"freq_dim": 0}),
        ("patch_size", {"patch_size": (1, 0, 2)}),
        ("patch_size", {"patch_size": (2, 2, 2)}),
    ],
)
def test_transformers_that_cannot_be_built_are_refused(field: str, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} must be .*, not ") as caught:
        replace(SMALL, **values)  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.code) == (field, "config_invalid")


def test_what_follows_from_a_transformers_sizes() -> None:
    assert SMALL.head_dim == 12
    assert SMALL.token_grid(60, 104) == (30, 52)
    assert SMALL.tokens_per_frame(60, 104) == 1560
    assert replace(SMALL, patch_size=(1, 3, 4)).token_grid(60, 104) == (20, 26)


@pytest.mark.parametrize(
    ("height", "width", "field"),
    [(0, 4, "height"), (3, 4, "height"), (-2, 4, "height"), (4, 5, "width"), (4, 0, "width")],
)
def test_pictures_that_patches_do_not_tile_are_refused(height: int, width: int, field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be a multiple of 2 latent pixels") as caught:
        SMALL.token_grid(height, width)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("steps", {"steps": ()}),
        ("steps", {"steps": (500, 750)}),
        ("steps", {"steps": (500, 500)}),
        ("steps", {"steps": (1001, 500)}),
        ("steps", {"steps": (500, 0)}),
        ("shift", {"shift": 0.0}),
        ("shift", {"shift": -5.0}),
        ("shift", {"shift": float("nan")}),
        ("shift", {"shift": float("inf")}),
        ("context_timestep", {"context_timestep": -1.0}),
        ("context_timestep", {"context_timestep": 1000.0}),
    ],
)
def test_schedules_that_do_not_fall_are_refused(field: str, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} must be ") as caught:
        SamplerConfig(**values)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_shortest_schedule() -> None:
    assert SamplerConfig(steps=(1000,)).steps == (1000,)
    assert SamplerConfig(steps=(1,), shift=0.1, context_timestep=999).context_timestep == 999


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("width", {"width": 0}),
        ("width", {"width": 100}),
        ("height", {"height": -8}),
        ("height", {"height": 481}),
        ("fps", {"fps": 0}),
        ("latent_channels", {"latent_channels": 0}),
        ("latent_stride", {"latent_stride": 0}),
        ("latent_stride", {"latent_stride": -8}),
    ],
)
def test_pictures_that_latents_do_not_tile_are_refused(field: str, values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} must be ") as caught:
        VideoConfig(**{"width": 832, "height": 480, **values})
    assert caught.value.field == field


def test_latents_of_a_picture() -> None:
    video = VideoConfig(width=832, height=480)
    assert (video.latent_width, video.latent_height) == (104, 60)
    assert VideoConfig(width=96, height=64, latent_stride=16).latent_height == 4


def test_configs_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        SMALL.dim = 48  # type: ignore[misc]
    assert hash(SMALL) == hash(replace(SMALL)), "so that they can be compared and kept as keys"
