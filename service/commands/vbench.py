"""`longtake eval --vbench PROMPTS`: clips in VBench's own file layout, for its own scripts to score.

Knows that layout: one flat folder, `PROMPT-INDEX.mp4`, indices from 0, five clips a prompt unless asked otherwise; the
seeds are written down beside the clips, as its instructions ask. A clip that is there is not made again, and a clip is
there only when it is whole.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import typer

from client.recording import TakeFiles
from models.journal import PromptEvent, WeightedPrompt, check_event
from models.train.eval.engines import Source, Variant, build_engine
from service.commands.generate import film
from service.commands.options import EvalOptions, OptionError
from service.commands.script import Script

SEEDS = "seeds.json"
LONGEST_NAME = 255
"""Bytes of a file's name that usual file systems have room for."""


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file, one a line. Raises OptionError for a prompt that is no file name."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    prompts = list(dict.fromkeys(line for line in lines if line))
    if not prompts:
        raise OptionError(f"expected prompts, one a line, in {path}", code="prompt_missing", field="vbench")
    for prompt in prompts:
        if "/" in prompt or "\0" in prompt or len(clip_name(prompt, 99).encode()) > LONGEST_NAME:
            message = f"expected prompts that can be file names, not {prompt[:100]!r}"
            raise OptionError(message, code="prompt_invalid", field="vbench")
        check_event(PromptEvent(block=0, prompts=(WeightedPrompt(prompt),)))
    return prompts


def clip_name(prompt: str, index: int) -> str:
    """The name that VBench looks for."""
    return f"{prompt}-{index}.mp4"


def seed_of(prompt: str, index: int) -> int:
    """A seed that is the same in every run and another for every clip."""
    return int.from_bytes(sha256(clip_name(prompt, index).encode()).digest()[:4], "big")


def export_clips(source: Source, prompts: Sequence[str], *, options: EvalOptions) -> None:
    """Make the clips that are not there yet."""
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(prompt, index) for prompt in prompts for index in range(options.samples)]
    seeds = {clip_name(prompt, index): seed_of(prompt, index) for prompt, index in wanted}
    (folder / SEEDS).write_text(json.dumps(seeds, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    missing = [clip for clip in wanted if not (folder / clip_name(*clip)).exists()]
    if missing:
        _make(source, missing, folder=folder, seconds=options.clip_seconds)
    typer.echo(f"{len(wanted)} clips of {len(prompts)} prompts in {folder}, {len(missing)} of them new", err=True)


def _make(source: Source, missing: Sequence[tuple[str, int]], *, folder: Path, seconds: float) -> None:
    engine = build_engine(source, Variant())
    unfinished = folder / ".unfinished.mp4"
    for prompt, index in missing:
        first = PromptEvent(block=0, prompts=(WeightedPrompt(prompt),))
        script = Script(first, (), seed_of(prompt, index))
        film(engine, script, seconds=seconds, files=TakeFiles(video=unfinished))
        unfinished.rename(folder / clip_name(prompt, index))
