"""Write a run's averaged weights as the file that the demo preset loads, and the thinned log beside it.

`python -m models.train.export RUN [RUN ...] [--out FOLDER]`: weights of the last run, logs of all of them in order.
Half precision; the vocabulary travels in the file's metadata. Knows files and runs; knows nothing about training.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from models.stored import VOCABULARY_KEY
from models.train.bundle import FULL_VOCABULARY
from models.train.run import LOG, load_average
from models.train.run import WEIGHTS_NAME as WEIGHTS_NAME
from models.weights import write_safetensors

LOG_NAME: Final = "train_log.jsonl"
MOST_BYTES: Final = 16_000_000
LOG_LINES: Final = 150


def write_weights(state: Mapping[str, Tensor], path: Path) -> int:
    """Write weights in half precision; returns the file's size. Raises ValueError if it is larger than is allowed."""
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    overflown = sorted(name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor.float()).all()))
    if overflown:
        raise ValueError(f"expected weights that fit in half precision, got others in {', '.join(overflown)}")
    write_safetensors(path, tensors, {VOCABULARY_KEY: json.dumps(list(FULL_VOCABULARY))})
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"expected a file of at most {MOST_BYTES} bytes, got {size}")
    return size


def thin_log(lines: Sequence[str], most: int = LOG_LINES) -> list[str]:
    """At most `most` lines at even distances, the first and the last among them."""
    if len(lines) <= most:
        return list(lines)
    return [lines[round(index * (len(lines) - 1) / (most - 1))] for index in range(most)]


def export(runs: Sequence[Path], out: Path) -> int:
    """Weights of the last run and the joined log of all runs into a folder; returns the size of the weights."""
    size = write_weights(load_average(runs[-1]), out / WEIGHTS_NAME)
    lines = [line for run in runs for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    (out / LOG_NAME).write_text("\n".join(thin_log(lines)) + "\n", encoding="utf-8")
    return size


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Export a run's averaged weights for the demo preset.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of the runs, in the order they were made")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "demo")
    chosen = parser.parse_args(arguments)
    print(f"{export(chosen.runs, chosen.out)} bytes in {chosen.out / WEIGHTS_NAME}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
