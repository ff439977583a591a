"""The training command: `python -m models.train STAGE --config FILE --out FOLDER [--resume] [--minutes M]`.

Knows arguments, logging and which class runs which stage; what a stage does is in its own file.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from models.train.decoder import DecoderTrainer
from models.train.distill import DistillTrainer
from models.train.pretrain import RowTrainer
from models.train.run import Trainer, write_run_sheet
from models.train.settings import STAGES, Stage, read_config

TRAINERS: Final[Mapping[Stage, type[Trainer]]] = {
    "single": RowTrainer,
    "causal": RowTrainer,
    "decoder": DecoderTrainer,
    "distill": DistillTrainer,
    "long": DistillTrainer,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one training stage to the end of its time budget."""
    parser = argparse.ArgumentParser(prog="longtake train", description="Train the demo model, one stage at a time.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--config", type=Path, required=True, help="TOML file, see models/train/configs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint, log, sheets")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--minutes", type=float, help="wall-clock budget in place of the configuration's")
    parser.add_argument("--start", help="run (or exported weights) to start from, in place of the configuration's")
    parser.add_argument("--sheet", type=Path, help="only write a contact sheet (PNG) of the run in --out")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = read_config(chosen.config)
    if config.stage != chosen.stage:
        parser.error(f"{chosen.config} is a configuration of stage {config.stage!r}, not {chosen.stage!r}")
    if chosen.minutes is not None:
        config = replace(config, minutes=chosen.minutes)
    if chosen.start is not None:
        config = replace(config, start=chosen.start)
    torch.set_num_threads(config.threads)
    if chosen.sheet is not None:
        write_run_sheet(chosen.out, chosen.sheet, config=config)
        return 0
    TRAINERS[config.stage](config, chosen.out, resume=chosen.resume).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
