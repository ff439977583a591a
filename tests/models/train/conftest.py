"""What the training tests share: one renderer and one codec, both made once."""

import pytest

from models.train.codec import fit_codec
from models.train.render import Renderer
from models.vae import LinearCodec


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    return Renderer()


@pytest.fixture(scope="session")
def codec(renderer: Renderer) -> LinearCodec:
    return fit_codec(renderer, clips=64, frames=12)
