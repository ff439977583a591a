"""Regions that are compiled: no part left out, nothing compiled once it is warm, and what is kept in a file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from models.compiling import MAX_SHAPES, Compiler, load_compiled, save_compiled
from models.config import WanVaeConfig
from models.decoding import hasten
from models.errors import ConfigError
from models.load import LoadOptions, build_generator
from models.pieces import make_decoder
from models.speed import Speed
from models.wan_vae import WanVae
from tests.models.engines import make_blocks, prompts, small_preset

TRACED = Speed(compile="on", backend="eager")


@pytest.fixture
def graphs() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def count() -> int:
    """Graphs that were made so far."""
    return int(counters["stats"]["unique_graphs"])


@pytest.mark.usefixtures("graphs")
def test_nothing_is_compiled_once_the_engine_is_warm() -> None:
    """Three layers share each graph: as many as there are shapes of passes, and two of the decoder's."""
    generator = build_generator(small_preset(layers=3), LoadOptions(random_seed=1, speed=TRACED))
    warm = count()
    # Passes of 3 queries and 3, 6, 9, 12 keys; rebuilds of 6, 9 and 12 frames, and of 9 that see 12.
    assert warm == 8 + 2
    assert not counters["graph_break"]
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 6)
    changes = [("recache", "keep"), ("recache", "refresh"), ("flush", "keep"), ("keep", "keep"), ("cut", "keep")]
    for mode, sink in changes:
        generator.set_prompt(stream, prompts(f"blue sea {mode}"), mode=mode, sink=sink)  # type: ignore[arg-type]
        make_blocks(generator, stream, 2)
    again = generator.restore(stream.journal, [torch.zeros(generator.parts.block_shape)] * 16, 7)
    make_blocks(generator, again, 1)
    assert count() == warm


@pytest.mark.usefixtures("graphs")
def test_a_part_that_cannot_be_compiled_is_an_error() -> None:
    def peeks(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if bool(x.sum() > 0) else x

    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        Compiler("eager").function(peeks)(torch.ones(2))


@pytest.mark.usefixtures("graphs")
def test_one_shape_too_many_is_an_error() -> None:
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    compiled = Compiler("eager").function(doubled)
    for size in range(2, MAX_SHAPES + 2):
        compiled(torch.ones(size))
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        compiled(torch.ones(MAX_SHAPES + 2))


@pytest.mark.usefixtures("graphs")
def test_the_library_s_decoder_is_compiled_whole() -> None:
    """Three kinds of calls: a scene's first latent frame, its second, and all later ones."""
    torch.manual_seed(1)
    config = WanVaeConfig(dim=8, z_dim=4, num_res_blocks=1, mean=(0.0,) * 4, std=(1.0,) * 4)
    plain, quick = WanVae(config), WanVae(config)
    quick.model.load_state_dict(plain.model.state_dict())
    hasten(quick, channels_last=False, compiler=Compiler("eager"))
    states = [decoder.start() for decoder in (plain, quick)]
    for number in range(5):
        latent = torch.randn(4, 2, 3)
        made = []
        for place, decoder in enumerate((plain, quick)):
            pixels, states[place] = decoder.decode(latent, states[place])
            made.append(pixels)
        assert torch.equal(*made), number
    assert 0 < count() <= 3
    assert not counters["graph_break"]


def test_parameters_keep_their_names() -> None:
    decoder = make_decoder(small_preset())
    assert isinstance(decoder, nn.Module)
    before = list(decoder.state_dict())
    hasten(decoder, channels_last=True, compiler=Compiler("eager"))
    assert list(decoder.state_dict()) == before


def test_nothing_is_kept_where_nothing_was_compiled(tmp_path: Path) -> None:
    assert not load_compiled(tmp_path, "mark")
    assert save_compiled(tmp_path / "new", "mark") == 0 or (tmp_path / "new" / "compiled-mark.bin").exists()


def test_code_that_others_can_write_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "compiled-mark.bin"
    path.write_bytes(b"code")
    os.chmod(path, 0o666)
    with pytest.raises(ConfigError, match="expected a file that only this user can write") as caught:
        load_compiled(tmp_path, "mark")
    assert caught.value.field == "tuning_dir"
