"""How far quantised weights are from full precision: `python -m tests.bench.quantised --prompts 4 --blocks 2`.

Makes the same takes with both and compares latents (relative error) and pixels (mean difference, PSNR) block by block;
the streams go their own ways from the second block on. Ends with one line of JSON. Adherence is `longtake eval
--quantize int8`. Knows the engine only.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np

from models.generator import Generator
from models.journal import WeightedPrompt
from models.load import LoadOptions, load_engine
from models.quantize import QUANTIZE, Quantize
from models.stream import Block
from service.commands.machine import machine_facts


@dataclass(frozen=True)
class BlockError:
    """Of one block number, over all prompts."""

    block: int
    latents: float
    """Norm of the difference over the norm."""
    levels: float
    """Mean absolute difference of pixels, of 255."""
    psnr_db: float


def take(generator: Generator, prompt: str, *, seed: int, blocks: int) -> list[Block]:
    stream = generator.start([WeightedPrompt(prompt)], seed=seed)
    made = [block for _ in range(blocks) if (block := generator.step(stream)) is not None]
    generator.close(stream)
    return made


def compare(number: int, pairs: list[tuple[Block, Block]]) -> BlockError:
    apart = [
        (plain.latents.float() - other.latents.float()).norm() / plain.latents.float().norm() for plain, other in pairs
    ]
    pixels = [plain.frames.astype(np.float64) - other.frames for plain, other in pairs]
    squared = float(np.mean([np.square(difference).mean() for difference in pixels]))
    return BlockError(
        block=number,
        latents=round(float(np.mean([float(value) for value in apart])), 4),
        levels=round(float(np.mean([np.abs(difference).mean() for difference in pixels])), 2),
        psnr_db=round(10 * math.log10(255**2 / squared), 1) if squared else math.inf,
    )


def main(preset: str, kind: Quantize, *, prompts: int, blocks: int, device: str) -> dict[str, object]:
    options = LoadOptions(device=device, threads=1)
    plain, other = (
        load_engine(preset, options),
        load_engine(preset, LoadOptions(device=device, threads=1, quantize=kind)),
    )
    spent, takes = [0.0, 0.0], []
    for number, prompt in enumerate(plain.preset.suggested_prompts[:prompts]):
        made = []
        for place, generator in enumerate((plain, other)):
            begun = time.perf_counter()
            made.append(take(generator, prompt, seed=number, blocks=blocks))
            spent[place] += time.perf_counter() - begun
        takes.append(made)
    errors = [compare(block, [(ours[block], theirs[block]) for ours, theirs in takes]) for block in range(blocks)]
    return {
        "preset": preset,
        "quantize": kind,
        "weight_bytes": [engine.facts().weight_bytes for engine in (plain, other)],
        "block_ms": [round(1000 * seconds / (blocks * len(takes)), 1) for seconds in spent],
        "errors": [asdict(error) for error in errors],
        "machine": asdict(machine_facts()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--quantize", default="int8", choices=QUANTIZE)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    report = main(
        asked.preset, cast(Quantize, asked.quantize), prompts=asked.prompts, blocks=asked.blocks, device=asked.device
    )
    print(json.dumps(report))
