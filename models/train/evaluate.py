"""How well the demo model follows its prompts: streams from the product's own generator, read by the detectors.

`python -m models.train.evaluate [--prompts N] [--json] [--sheet FILE]`. Fixed seeds. The detectors' own accuracy on
rendered clips, clean and degraded, stands beside every figure; the same streams with cross-attention zeroed must
fall to chance. Knows generator and detectors; knows nothing about how the weights were made.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.generator import Generator
from models.journal import WeightedPrompt
from models.load import LoadOptions, build_generator
from models.presets import get_preset
from models.train.detectors import DetectorAccuracy, Detectors, Reading, accuracy, measure_detectors, read_motion
from models.train.render import Renderer
from models.train.sampling import write_sheet
from models.train.world import COLOUR, MOTION, SCENE, SHAPE, TIME, attributes_of, plain_caption, sample_attributes
from models.vae import LinearCodec

PROMPT_SEED: Final = 77
STREAM_SEED: Final = 1000
FIRST_BLOCKS: Final = 3
SWITCH_BLOCK: Final = 4
BLOCKS_AFTER: Final = 3
READ_EVERY: Final = 4
"""Frames between those that are read for what does not move."""


@dataclass(frozen=True, slots=True)
class Adherence:
    """Share of read frames that show what the prompt says; motion is of whole clips."""

    prompts: int
    scene: float
    time: float
    skyline: float
    colour: float
    shape: float
    motion: float
    present: float
    mean_score: float


@dataclass(frozen=True, slots=True)
class SwitchAdherence:
    """After a switch with recache: for each block the share of frames that show the new prompt."""

    prompts: int
    scene: list[float]
    time: list[float]
    colour: list[float]
    kept_scene: float
    scene_within_three_blocks: float
    """Share of the streams whose last frame of any of the three blocks shows the new scene and goes on showing it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured."""

    clean_detectors: DetectorAccuracy
    degraded_detectors: DetectorAccuracy
    first_block: Adherence
    blocks: Adherence
    without_text: Adherence
    switch: SwitchAdherence


def load_demo(weights: Path | None = None, *, shift: float | None = None) -> Generator:
    """The demo preset's generator, from other weights or with another shift if asked."""
    preset = get_preset("demo")
    if weights is not None:
        preset = replace(preset, weights=str(weights.resolve()))
    if shift is not None:
        preset = replace(preset, sampler=replace(preset.sampler, shift=shift))
    return build_generator(preset, LoadOptions())


def make_detectors(generator: Generator, renderer: Renderer) -> tuple[Detectors, LinearCodec]:
    """Calibrated detectors and the codec with which pictures are degraded."""
    decoder = generator.parts.decoder
    assert isinstance(decoder, LinearCodec), "the demo model has a linear codec"
    return Detectors.calibrate(renderer, decoder, clips=600), decoder


def zero_cross_attention(generator: Generator) -> None:
    """Cut the text off: the outputs of all cross-attentions become zero. The generator stays that way."""
    for block in generator.parts.passes.transformer.blocks:
        for parameter in block.cross_attn.o.parameters():
            parameter.zero_()


def to_pixels(frames: Sequence[np.ndarray]) -> Tensor:
    """Frames [T,3,H,W] in [0,1] from the blocks' bytes."""
    return torch.from_numpy(np.concatenate(list(frames))).permute(0, 3, 1, 2).float() / 255


def make_clip(generator: Generator, prompt: str, *, seed: int, blocks: int) -> Tensor:
    """The first blocks of a stream as pixels."""
    return make_switched_clip(generator, prompt, later="", seed=seed, before=blocks, after=0)


def make_switched_clip(generator: Generator, prompt: str, *, later: str, seed: int, before: int, after: int) -> Tensor:
    """A stream whose prompt changes with recache before block `before`, as pixels."""
    stream = generator.start([WeightedPrompt(prompt)], seed=seed)
    frames = []
    for index in range(before + after):
        if index == before:
            generator.set_prompt(stream, [WeightedPrompt(later)], mode="recache")
        block = generator.step(stream)
        assert block is not None, "nobody interrupts"
        frames.append(block.frames)
    generator.close(stream)
    return to_pixels(frames)


def evaluation_prompts(count: int, seed: int = PROMPT_SEED) -> Tensor:
    """The attributes of the evaluation's prompts [count, 5]."""
    return sample_attributes(count, torch.Generator().manual_seed(seed))


def make_clips(generator: Generator, attributes_N5: Tensor, *, blocks: int) -> Tensor:
    """One stream a prompt [N,T,3,H,W]."""
    clips = []
    for index, row in enumerate(attributes_N5):
        prompt = plain_caption(attributes_of(row))
        clips.append(make_clip(generator, prompt, seed=STREAM_SEED + index, blocks=blocks))
    return torch.stack(clips)


def measure_adherence(detectors: Detectors, clips_NT3HW: Tensor, attributes_N5: Tensor) -> Adherence:
    """Read clips and compare with what their prompts say."""
    read = clips_NT3HW[:, ::READ_EVERY]
    reading = detectors.read(read.flatten(0, 1))
    truth = attributes_N5.repeat_interleave(read.shape[1], dim=0)
    return Adherence(
        prompts=len(attributes_N5),
        scene=accuracy(reading.scene, truth[:, SCENE]),
        time=accuracy(reading.time, truth[:, TIME]),
        skyline=accuracy(reading.skyline, truth[:, SCENE]),
        colour=accuracy(reading.colour, truth[:, COLOUR]),
        shape=accuracy(reading.shape, truth[:, SHAPE]),
        motion=accuracy(_motions(detectors, clips_NT3HW), attributes_N5[:, MOTION]),
        present=float(reading.present.float().mean()),
        mean_score=float(reading.score.mean()),
    )


def _motions(detectors: Detectors, clips_NT3HW: Tensor) -> Tensor:
    """The motion of each clip, from every second of its last 24 frames."""
    last = clips_NT3HW[:, -24::2]
    reading = detectors.read(last.flatten(0, 1))
    tracks = zip(*(part.unflatten(0, last.shape[:2]) for part in _track(reading)), strict=True)
    return torch.tensor([read_motion(x, y, present) for x, y, present in tracks])


def _track(reading: Reading) -> tuple[Tensor, Tensor, Tensor]:
    return reading.x, reading.y, reading.present


def measure_switches(generator: Generator, detectors: Detectors, *, count: int) -> SwitchAdherence:
    """Streams that go from one evaluation prompt to another with recache; half of them keep the scene and time."""
    before, after = evaluation_prompts(count), evaluation_prompts(count, PROMPT_SEED + 1)
    after[::2, SCENE] = (before[::2, SCENE] + 1 + torch.arange(len(after[::2])) % 5) % 6
    after[1::2, SCENE], after[1::2, TIME] = before[1::2, SCENE], before[1::2, TIME]
    clips = torch.stack(
        [
            make_switched_clip(
                generator,
                plain_caption(attributes_of(first)),
                later=plain_caption(attributes_of(second)),
                seed=STREAM_SEED + index,
                before=SWITCH_BLOCK,
                after=BLOCKS_AFTER,
            )[12 * SWITCH_BLOCK :]
            for index, (first, second) in enumerate(zip(before, after, strict=True))
        ]
    )
    ends = clips[:, 2::3]  # every third frame, four a block
    reading = detectors.read(ends.flatten(0, 1))
    scene, time, colour = (
        (found.unflatten(0, ends.shape[:2]) == after[:, attribute, None]).float().unflatten(1, (BLOCKS_AFTER, -1))
        for found, attribute in ((reading.scene, SCENE), (reading.time, TIME), (reading.colour, COLOUR))
    )
    return SwitchAdherence(
        prompts=count,
        scene=scene[::2].mean(dim=(0, 2)).tolist(),
        time=time[::2].mean(dim=(0, 2)).tolist(),
        colour=colour.mean(dim=(0, 2)).tolist(),
        kept_scene=float(scene[1::2].mean()),
        scene_within_three_blocks=float((scene[::2, -1, -1] > 0).float().mean()),
    )


def evaluate(generator: Generator, *, prompts: int, sheet: Path | None = None) -> Report:
    """Measure everything; the generator's cross-attention is zeroed at the end and stays so."""
    renderer = Renderer()
    detectors, codec = make_detectors(generator, renderer)
    attributes = evaluation_prompts(prompts)
    clips = make_clips(generator, attributes, blocks=FIRST_BLOCKS)
    if sheet is not None:
        write_sheet(sheet, clips[:24], shown=3)
    switch = measure_switches(generator, detectors, count=prompts)
    zero_cross_attention(generator)
    cut_off = make_clips(generator, attributes, blocks=1)
    return Report(
        clean_detectors=measure_detectors(detectors, renderer, clips=48, seed=5),
        degraded_detectors=measure_detectors(detectors, renderer, clips=48, seed=6, codec=codec),
        first_block=measure_adherence(detectors, clips[:, :12], attributes),
        blocks=measure_adherence(detectors, clips, attributes),
        without_text=measure_adherence(detectors, cut_off, attributes),
        switch=switch,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its last line is one JSON document under --json."""
    parser = argparse.ArgumentParser(description="Measure how the demo model follows its prompts.")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--weights", type=Path, help="another file of weights than the demo preset's")
    parser.add_argument("--shift", type=float, help="another shift of the sampling steps than the preset's")
    parser.add_argument("--sheet", type=Path, help="where to write a contact sheet (PNG)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    generator = load_demo(chosen.weights, shift=chosen.shift)
    report = asdict(evaluate(generator, prompts=chosen.prompts, sheet=chosen.sheet))
    if chosen.json:
        print(json.dumps(report))
        return 0
    for part, figures in report.items():
        print(part)
        for name, value in figures.items():
            if not name.endswith("confusion"):
                print(f"  {name:26} {value if not isinstance(value, float) else f'{value:.3f}'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
