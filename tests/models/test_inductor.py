"""One region through the compiler that serves: with a C++ compiler, so for machines that have one.

What it computes is held to the plain path; what was compiled is kept, and gives the same bits from the file.
"""

import shutil
from pathlib import Path

import pytest
import torch

from cache.window import WindowState
from models.compiling import Compiler, load_compiled, save_compiled
from models.hot import Forms, HotPath, block_pass
from models.kernels.forms import PlainOps
from models.load import LoadOptions, build_generator
from models.passes import CachedPasses
from models.transformer import Transformer
from tests.models.engines import small_preset

# The compiler's own modules warn of each other, which is no fault of what is tested.
pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore")]


def made(transformer: Transformer, *, compiled: bool) -> list[torch.Tensor]:
    """One pass of a first block, and what it left in the cache."""
    block = Compiler().function(block_pass) if compiled else block_pass
    hot = HotPath(transformer, Forms(PlainOps(), "auto"), block=block)
    passes = CachedPasses(transformer, small_preset().window, height=2, width=2, hot=hot)
    draw = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        cache = passes.new_cache()
        text = transformer.embed_text(torch.randn(1, 6, 8, generator=draw))
        latents = torch.randn(1, 3, 4, 2, 2, generator=draw)
        context = passes.prepare(cache, WindowState(passes.spec).plan_block(), text=text)
        out = passes.run(latents, time=passes.embed_timestep(600.0), context=context)
    return [out, cache.keys_LBNHD, cache.values_LBNHD]


def test_a_compiled_block_is_the_plain_one_and_is_kept(tmp_path: Path) -> None:
    assert shutil.which("g++") is not None
    transformer = build_generator(small_preset(), LoadOptions(random_seed=1)).parts.passes.transformer
    torch._dynamo.reset()
    plain, first = (made(transformer, compiled=compiled) for compiled in (False, True))
    for one, other in zip(plain, first, strict=True):
        assert (one - other).abs().max() <= 1e-4 * one.abs().max()
    assert save_compiled(tmp_path, "mark") > 0
    assert (tmp_path / "compiled-mark.bin").stat().st_mode & 0o077 == 0
    torch._dynamo.reset()
    assert load_compiled(tmp_path, "mark")
    again = made(transformer, compiled=True)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    torch._dynamo.reset()
