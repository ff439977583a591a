"""Recorded passes: inputs of their own, found by addresses, bounded. A function that runs again stands for a graph."""

import torch

from models.graphs import GraphedPath, Play
from models.hot import Forms, HotPath
from models.kernels.lean import LeanOps
from models.load import LoadOptions, build_generator
from models.passes import CachedPasses
from models.speed import Speed
from tests.models.engines import make_blocks, prompts, small_preset

FUSED = LoadOptions(random_seed=1, speed=Speed(fused="on"))


class Recorder:
    """Counts what is recorded and what is played."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, function: Play) -> Play:
        self.recorded += 1

        def play() -> torch.Tensor:
            self.played += 1
            return function()

        return play


def test_played_passes_are_the_path_s_and_one_recording_serves_all_of_a_stream() -> None:
    generator = build_generator(small_preset(), FUSED)
    stream = generator.start(prompts("a red ball"), seed=1)
    expected = [block.frames_sha256 for block in make_blocks(generator, stream, 9)]
    parts, recorder = generator.parts, Recorder()
    path = HotPath(parts.passes.transformer, Forms(LeanOps(), "auto"))
    video = small_preset().video
    graphed = CachedPasses(
        parts.passes.transformer,
        parts.spec,
        height=video.latent_height,
        width=video.latent_width,
        hot=GraphedPath(path, recorder, limit=2),
    )
    object.__setattr__(parts, "passes", graphed)
    streams = [generator.start(prompts("a red ball"), seed=1) for _ in range(3)]
    made = make_blocks(generator, streams[0], 9)
    assert [block.frames_sha256 for block in made] == expected
    # Blocks 3 to 8 in two steps and, but for the last, the clean pass of each; block 3 is the first with a full window.
    assert (recorder.recorded, recorder.played) == (1, 6 * 2 + 5)
    for other in streams[1:]:
        make_blocks(generator, other, 4)
    assert recorder.recorded == 3
    make_blocks(generator, streams[0], 1)
    assert recorder.recorded == 4, "the oldest of three gave way to a limit of two"
