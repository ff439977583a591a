"""Clips are what their attributes say: deterministic, continuous, exact masks, block-aligned fades."""

import pytest
import torch

from models.train.motion import RADIUS, follow
from models.train.render import FADE_FRAMES, FRAMES_PER_BLOCK, Renderer, Script, random_script
from models.train.scenery import BACKDROP_CHROMA, SIZE, backdrop
from models.train.world import MOTIONS, SCENES, TIMES


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_switch(before: list[int], after: list[int], at: int) -> Script:
    return Script(attributes=torch.tensor([[before, after]]), starts=torch.tensor([[0, at]]))


def test_the_same_seed_gives_the_same_clips(renderer: Renderer) -> None:
    first, again = (renderer.clips(5, 24, switch_share=0.5, generator=source(3)) for _ in range(2))
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.masks, again.masks)
    other = renderer.clips(5, 24, switch_share=0.5, generator=source(4))
    assert not torch.equal(first.frames, other.frames)


def test_shapes_and_range(renderer: Renderer) -> None:
    clips = renderer.clips(3, 12, switch_share=0.0, generator=source())
    assert clips.frames.shape == (3, 12, 3, SIZE, SIZE)
    assert clips.masks.shape == (3, 12, SIZE, SIZE)
    assert float(clips.frames.min()) >= 0
    assert float(clips.frames.max()) <= 1


def test_the_mask_is_where_the_object_is(renderer: Renderer) -> None:
    clips = renderer.clips(12, 12, switch_share=0.0, generator=source(1))
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    mass = clips.masks.sum(dim=(2, 3))
    across = (clips.masks.sum(dim=2) * axis).sum(dim=2) / mass
    down = (clips.masks.sum(dim=3) * axis).sum(dim=2) / mass
    assert float((across - clips.track.x).abs().max()) < 0.01
    assert float((down - clips.track.y).abs().max()) < 0.02
    share = mass / SIZE**2
    assert 0.02 < float(share.min()) < float(share.max()) < 0.1


def test_the_object_is_always_whole_on_screen_and_moves_smoothly() -> None:
    motions = torch.randint(len(MOTIONS), (40, 8), generator=source(2)).repeat_interleave(24, dim=1)
    track = follow(motions, source(5))
    for places in (track.x, track.y):
        assert float(places.min()) >= RADIUS
        assert float(places.max()) <= 1 - RADIUS
        assert float(places.diff(dim=1).abs().max()) < 0.15


def test_a_switch_begins_at_its_frame_and_is_over_after_the_fade(renderer: Renderer) -> None:
    before, after = [0, 0, 0, 0, 0], [4, 1, 0, 3, 2]
    clips = renderer.render(one_switch(before, after, 12), 36, generator=source(7))
    frames = clips.frames[0]
    assert clips.attributes[0, 11].tolist() == before
    assert clips.attributes[0, 12].tolist() == after
    assert bool((clips.fade[0, :12] == 1).all())
    assert clips.fade[0, 12:18].tolist() == pytest.approx([(i + 1) / FADE_FRAMES for i in range(FADE_FRAMES)])
    steps = (frames[1:] - frames[:-1]).abs().mean(dim=(1, 2, 3))
    assert bool((steps[11:17] > 0.01).all())
    assert bool((steps[:11] < 1e-6).all())
    assert bool((steps[18:] < 1e-6).all())


def test_a_clip_without_a_switch_keeps_its_backdrop(renderer: Renderer) -> None:
    clips = renderer.clips(6, 24, switch_share=0.0, generator=source(8))
    away = (clips.masks.amax(dim=1) == 0)[:, None, None].expand_as(clips.frames[:, :1])
    change = (clips.frames - clips.frames[:, :1]).abs().amax(dim=1, keepdim=True)
    assert float(change[away][::7].median()) < 1e-6


def test_switches_are_block_aligned_and_as_frequent_as_asked() -> None:
    script = random_script(400, 60, switch_share=0.6, generator=source(9))
    at = script.starts[:, 1]
    assert bool((at % FRAMES_PER_BLOCK == 0).all())
    share = float((at < 60).float().mean())
    assert 0.5 < share < 0.7
    assert bool((script.starts[:, 0] == 0).all())


def test_backdrops_differ_and_stay_pale() -> None:
    pictures = {}
    for scene in range(len(SCENES)):
        for time in range(len(TIMES)):
            picture = backdrop(scene, time, variant=0)
            assert float((picture.max(axis=-1) - picture.min(axis=-1)).max()) <= BACKDROP_CHROMA + 1e-4
            pictures[picture.tobytes()] = (scene, time)
    assert len(pictures) == len(SCENES) * len(TIMES)


def test_an_unknown_scene_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a scene below 6"):
        backdrop(6, 0, variant=0)
