"""`python -m tests.bench.baselines`: the hot path against the published way, lever by lever, in one run.

A cut of the 1.3B (its widths, fewer layers) at a small picture, random weights, one dtype. Each way makes the passes of
a block with a full window in turn with the others, so that a busy machine is busy for all of them; what is compared is
the processor time of this thread, the least of the rounds. Ends in one JSON document; `--bench` runs `longtake bench`
with the options behind it and puts its document beside.
"""

import argparse
import copy
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from cache.window import WindowState
from models.attention import FullAttention
from models.hot import Forms, HotPath
from models.kernels.forms import PlainOps
from models.kernels.lean import LeanOps
from models.load import LoadOptions, build_generator
from models.passes import CachedPasses
from models.pieces import give_random_memory
from models.presets import get_preset
from models.rope import video_rotation
from models.speed import Speed
from models.transformer import Block, PassContext, Transformer
from service.commands.machine import machine_facts
from tests.bench.published import PublishedPasses, as_published
from tests.models.engines import make_blocks, prompts, small_preset

PASSES = 5


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the passes of a block; `run` gives the last one's output."""

    name: str
    run: Callable[[], Tensor]


def cut(layers: int) -> Transformer:
    """The 1.3B with fewer layers, random."""
    with torch.device("meta"):
        transformer = Transformer(replace(get_preset("longlive-1.3b").transformer, num_layers=layers))
    torch.manual_seed(1)
    give_random_memory(transformer, torch.device("cpu"))
    return transformer.eval().requires_grad_(False)


@torch.inference_mode()
def ways(transformer: Transformer, *, side: int, rank: int) -> list[Way]:
    """All ways over one set of weights. `side`: of the picture, in latent pixels."""
    window = get_preset("longlive-1.3b").window
    adapted, merged = sharing(transformer), sharing(transformer)
    as_published(adapted, rank=rank)
    as_published(merged, rank=0)
    made: dict[str, CachedPasses] = {
        "published": PublishedPasses(adapted, window, height=side, width=side),
        "published, adapter merged": PublishedPasses(merged, window, height=side, width=side),
        "plain": CachedPasses(transformer, window, height=side, width=side),
    }
    for ops in (PlainOps(), LeanOps()):
        own = sharing(transformer)
        hot = HotPath(own, Forms(ops, "auto"))
        made[f"hot, {ops.name}"] = CachedPasses(own, window, height=side, width=side, hot=hot)
    return [Way(name, block_of(passes, side=side)) for name, passes in made.items()]


def sharing(transformer: Transformer) -> Transformer:
    """Modules of its own over the same weights: a few of these would not fit into memory."""
    return copy.deepcopy(transformer, {id(weight): weight for weight in transformer.parameters()})


def block_of(passes: CachedPasses, *, side: int) -> Callable[[], Tensor]:
    """The passes of a block over a full window, on a cache of its own."""
    config = passes.transformer.config
    draw = torch.Generator().manual_seed(2)
    cache, blocks = passes.new_cache(), passes.spec.slots // passes.spec.block_frames
    for tensor in (cache.keys_LBNHD, cache.values_LBNHD):
        tensor.copy_(torch.randn(tensor.shape, generator=draw))
    text = passes.transformer.embed_text(torch.randn(1, config.text_len, config.text_dim, generator=draw))
    latents = torch.randn(1, passes.spec.block_frames, config.in_channels, side, side, generator=draw)
    plan, time_ = WindowState(passes.spec).advance(blocks).plan_block(), passes.embed_timestep(700.0)

    @torch.inference_mode()
    def run() -> Tensor:
        context = passes.prepare(cache, plan, text=text)
        return [passes.run(latents, time=time_, context=context) for _ in range(PASSES)][-1]

    return run


def measure(found: list[Way], *, rounds: int) -> dict[str, float]:
    """Milliseconds of processor time of each way's block, the least of the rounds. All must give one output."""
    expected = found[0].run()
    for way in found[1:]:
        apart = float((way.run() - expected).abs().max() / expected.abs().max())
        assert apart < 1e-4, (way.name, apart)
    best = dict.fromkeys((way.name for way in found), float("inf"))
    for _ in range(rounds):
        for way in found:
            begun = time.thread_time()
            way.run()
            best[way.name] = min(best[way.name], 1000 * (time.thread_time() - begun))
    return best


@torch.inference_mode()
def diffusers_block(block: Block, *, tokens: int, rounds: int) -> dict[str, float]:
    """The library's own block of these sizes among the tokens of a block (it has no cache), beside ours."""
    from diffusers.models.transformers.transformer_wan import WanTransformerBlock

    config = get_preset("longlive-1.3b").transformer
    draw = torch.Generator().manual_seed(3)
    theirs = WanTransformerBlock(
        config.dim, config.ffn_dim, config.num_heads, "rms_norm_across_heads", True, config.eps
    ).eval()
    x, text = (torch.randn(1, n, config.dim, generator=draw) for n in (tokens, config.text_len))
    time_ = torch.randn(1, 1, 6, config.dim, generator=draw)
    rope = video_rotation(config.head_dim, range(3), rows=1, columns=tokens // 3)
    cos, sin = (part.repeat_interleave(2, -1)[None] for part in (rope.cos_N1P, rope.sin_N1P))
    keys = torch.randn(1, 1, config.text_len, config.num_heads, config.head_dim, generator=draw)
    context = PassContext(rope, TextKeysValues(keys, keys), FullAttention())
    runs: list[Way] = [
        Way("diffusers' block", lambda: theirs(x, text, time_[:, 0], (cos, sin))),
        Way("our block, plain", lambda: block(x, time_, context=context, layer=0)),
    ]
    best = dict.fromkeys((way.name for way in runs), float("inf"))
    for _ in range(rounds):
        for way in runs:
            begun = time.thread_time()
            way.run()
            best[way.name] = min(best[way.name], 1000 * (time.thread_time() - begun))
    return best


def report(*, layers: int, side: int, rounds: int, rank: int) -> dict[str, object]:
    """The document: milliseconds of a block and how many times as fast as the published way."""
    torch.set_num_threads(1)
    transformer = cut(layers)
    best = measure(ways(transformer, side=side, rank=rank), rounds=rounds)
    tokens = 3 * (side // 2) ** 2
    return {
        "layers": layers,
        "tokens": tokens,
        "block_ms": best,
        "gain": {name: best["published"] / spent for name, spent in best.items()},
        "layer_ms": diffusers_block(next(iter(transformer.blocks)), tokens=tokens, rounds=rounds),
        "load_average": machine_facts().load_average,
    }


def growth(blocks: int) -> dict[str, object]:
    """Allocations of tensors alive, every tenth of so many blocks of the demo's kind with fast paths on."""
    generator = build_generator(small_preset(), LoadOptions(random_seed=1, speed=Speed(fused="on")))
    stream = generator.start(prompts("a red ball"), seed=1)
    alive = []
    for _ in range(10):
        make_blocks(generator, stream, blocks // 10)
        gc.collect()
        alive.append(sum(issubclass(type(item), Tensor) for item in gc.get_objects()))
    return {"blocks": blocks, "tensors_alive": alive}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=1000, help="for the growth of memory")
    parser.add_argument("--bench", nargs=argparse.REMAINDER, help="run `longtake bench` with these options, too")
    asked = parser.parse_args()
    document = report(layers=asked.layers, side=asked.side, rounds=asked.rounds, rank=asked.rank)
    document["growth"] = growth(asked.blocks)
    if asked.bench is not None:
        command = [sys.executable, "-m", "service", "bench", "--json", *asked.bench]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        document = {**json.loads(ran.stdout.splitlines()[-1]), "baselines": document}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
