"""Captioned clips, drawn in batches: backdrop, soft shadow and one shaded object with a dark outline.

Knows tensors of pixels and the world's indices; knows nothing about models. The same generator state gives the same
clips. Every attribute of a clip may change at block boundaries; a change fades over `FADE_FRAMES` frames (backdrop
and colour mix, the shape morphs, the motion closes its gap), and before and after it the picture shows one set of
attributes exactly. Shapes: B clips, T frames, N = B*T, P = side of the crop that is drawn.
"""

from dataclasses import dataclass
from math import cos, hypot, pi, sin
from typing import Final

import torch
from torch import Tensor

from models.train.motion import RADIUS, Track, follow
from models.train.scenery import SIZE, VARIANTS, all_backdrops
from models.train.world import COLOUR, MOTION, SCENE, SHAPE, TIME, TIMES, change_attributes, sample_attributes

FPS: Final = 16
FADE_FRAMES: Final = 6
FRAMES_PER_BLOCK: Final = 12
CROP: Final = 38
GROUP_FRAMES: Final = 32
OUTLINE: Final = 0.015
GROUND_LINE: Final = 0.875
OBJECT_COLOURS: Final = (
    (0.92, 0.06, 0.08),
    (1.00, 0.47, 0.02),
    (1.00, 0.90, 0.06),
    (0.05, 0.72, 0.20),
    (0.10, 0.25, 0.98),
    (0.62, 0.10, 0.86),
)
LIGHTS: Final = ((1.0, 1.0, 1.0), (0.98, 0.88, 0.86), (0.80, 0.82, 0.92))
"""What daylight, sunset and night do to the object's colour: little, so that it can always be told."""


@dataclass(frozen=True, slots=True)
class Clips:
    """A batch of rendered clips."""

    frames: Tensor
    """[B,T,3,SIZE,SIZE] in [0,1]."""
    masks: Tensor
    """[B,T,SIZE,SIZE]: how much of each pixel the object covers, outline included."""
    attributes: Tensor
    """[B,T,5] int64: the attributes each frame shows or fades to."""
    fade: Tensor
    """[B,T] in (0,1]: how far the newest change has come; 1 where nothing fades."""
    track: Track


@dataclass(frozen=True, slots=True)
class Script:
    """What a batch of clips shows: sets of attributes and the frames at which they begin."""

    attributes: Tensor
    """[B,S,5] int64: S sets one after another."""
    starts: Tensor
    """[B,S] int64: first frame of each set, the first 0, ascending; at or past the clip's end means never."""


def random_script(count: int, frames: int, *, switch_share: float, generator: torch.Generator) -> Script:
    """Uniform random attributes; a share of the clips changes some of them once, at a block boundary."""
    first = sample_attributes(count, generator)
    second = change_attributes(first, generator)
    blocks = frames // FRAMES_PER_BLOCK
    at = FRAMES_PER_BLOCK * torch.randint(1, max(blocks, 2), (count,), generator=generator)
    switches = torch.rand(count, generator=generator) < switch_share
    starts = torch.stack([torch.zeros_like(at), torch.where(switches, at, frames)], dim=1)
    return Script(attributes=torch.stack([first, second], dim=1), starts=starts)


def ball_distance(x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to a ball's outline, negative inside; the object's radius is 1."""
    return torch.hypot(x, y) - 0.92


def box_distance(x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the outline of a box with rounded corners."""
    side, corner = 0.78, 0.10
    over_x, over_y = x.abs() - side + corner, y.abs() - side + corner
    outside = torch.hypot(over_x.clamp(min=0), over_y.clamp(min=0))
    return outside + torch.maximum(over_x, over_y).clamp(max=0) - corner


def star_distance(x: Tensor, y: Tensor) -> Tensor:
    """Distance to the nearest edge (as a whole line) of a five-pointed star, negative inside."""
    fifth = 2 * pi / 5
    radius = torch.hypot(x, y)
    angle = (torch.remainder(torch.atan2(x, -y) + fifth / 2, fifth) - fifth / 2).abs()
    along, across = radius * torch.cos(angle), radius * torch.sin(angle)
    # An edge runs from the tip at radius 1.04 to the notch at radius 0.50, half a fifth further round.
    tip, notch = 1.04, 0.50
    edge_x, edge_y = notch * cos(fifth / 2) - tip, notch * sin(fifth / 2)
    return ((along - tip) * edge_y - across * edge_x) / hypot(edge_x, edge_y)


SHAPE_DISTANCES: Final = (ball_distance, box_distance, star_distance)
"""Distance functions in the order of SHAPES."""


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What single frames show: attributes [N,5] before and after a change, its fade and the object's centre [N,1]."""

    before: Tensor
    after: Tensor
    fade: Tensor
    x: Tensor
    y: Tensor

    def part(self, frames: slice) -> "FrameFacts":
        """Some of the frames."""
        return FrameFacts(self.before[frames], self.after[frames], self.fade[frames], self.x[frames], self.y[frames])


class Renderer:
    """Draws clips. Holds the backdrops, so make one and keep it."""

    def __init__(self, device: torch.device | None = None, variants: int = VARIANTS) -> None:
        self.device = device or torch.device("cpu")
        self.variants = variants
        pictures = torch.from_numpy(all_backdrops(variants)).to(self.device)
        self.backdrops = pictures.permute(0, 1, 2, 5, 3, 4).reshape(-1, 3, SIZE * SIZE)
        self.colours = torch.tensor(OBJECT_COLOURS, device=self.device)
        self.lights = torch.tensor(LIGHTS, device=self.device)
        self.axis = (torch.arange(SIZE, device=self.device) + 0.5) / SIZE

    def clips(self, count: int, frames: int, *, switch_share: float, generator: torch.Generator) -> Clips:
        """Random clips; see `random_script`."""
        return self.render(
            random_script(count, frames, switch_share=switch_share, generator=generator), frames, generator=generator
        )

    def render(self, script: Script, frames: int, *, generator: torch.Generator) -> Clips:
        """The clips of a script, with random backdrop variants, anchors and phases."""
        count = script.attributes.shape[0]
        starts = script.starts.to(self.device)
        instants = torch.arange(frames, device=self.device)
        segment = (instants[None, :, None] >= starts[:, None, :]).sum(dim=2) - 1  # [B,T]
        past = (segment - 1).clamp(min=0)
        since = instants[None] - starts.gather(1, segment) + 1
        fade = torch.where(segment > 0, (since / FADE_FRAMES).clamp(max=1.0), 1.0)
        rows = torch.arange(count, device=self.device)[:, None]
        attributes = script.attributes.to(self.device)
        after, before = attributes[rows, segment], attributes[rows, past]
        track = follow(after[..., MOTION], generator)
        variants = torch.randint(self.variants, (count, attributes.shape[1]), generator=generator).to(self.device)
        same = (attributes[..., [SCENE, TIME]] == attributes[:, :1, [SCENE, TIME]]).all(dim=2)
        variants = torch.where(same, variants[:, :1], variants)
        new_place = self._place(after, variants[rows, segment])
        old_place = self._place(before, variants[rows, past])
        canvas = torch.empty(count * frames, 3, SIZE * SIZE, device=self.device)
        masks = torch.zeros(count * frames, SIZE * SIZE, device=self.device)
        flat = FrameFacts(*(part.reshape(count * frames, -1) for part in (before, after, fade, track.x, track.y)))
        # Small groups of frames stay in the processor's cache: three times as fast as all at once.
        group = GROUP_FRAMES if self.device.type == "cpu" else count * frames
        for first in range(0, count * frames, group):
            part = slice(first, first + group)
            facts = flat.part(part)
            self._backdrop(canvas[part], old_place[part], new_place[part], facts.fade)
            self._draw(canvas[part], masks[part], facts)
        return Clips(
            frames=canvas.reshape(count, frames, 3, SIZE, SIZE).clamp_(0, 1),
            masks=masks.reshape(count, frames, SIZE, SIZE),
            attributes=after,
            fade=fade,
            track=track,
        )

    def _place(self, attributes: Tensor, variant: Tensor) -> Tensor:
        """Which backdrop each frame has, flattened to [N]."""
        place = (attributes[..., SCENE] * len(TIMES) + attributes[..., TIME]) * self.variants + variant
        return place.flatten()

    def _backdrop(self, canvas: Tensor, old: Tensor, new: Tensor, fade: Tensor) -> None:
        """Fill the canvas [N,3,H*W] with backdrops, two of them mixed where one fades into the other."""
        torch.index_select(self.backdrops, 0, new, out=canvas)
        chosen = ((fade[:, 0] < 1) & (old != new)).nonzero()[:, 0]
        if chosen.numel():
            canvas[chosen] = torch.lerp(self.backdrops[old[chosen]], canvas[chosen], fade[chosen, None])

    def _crop(self, centre_N1: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Pixel numbers [N,side] around centres, kept inside the picture, and their coordinates."""
        first = (centre_N1 * SIZE - side / 2).round().long().clamp(0, SIZE - side)
        pixels = first + torch.arange(side, device=self.device)
        return pixels, self.axis[pixels]

    def _draw(self, canvas: Tensor, masks: Tensor, facts: FrameFacts) -> None:
        """Shadow and object onto the canvas [N,3,H*W], and the object's cover into the masks [N,H*W]."""
        x, y = facts.x, facts.y
        self._shadow(canvas, x, y)
        columns, across = self._crop(x, CROP)
        rows, down = self._crop(y, CROP)
        flat = (rows[:, :, None] * SIZE + columns[:, None, :]).flatten(1)  # [N,P*P]
        local_x = ((across - x) / RADIUS)[:, None, :].expand(-1, CROP, -1)
        local_y = ((down - y) / RADIUS)[:, :, None].expand(-1, -1, CROP)
        distance = self._distance(local_x, local_y, facts).flatten(1)
        pixel = 1 / (RADIUS * SIZE)
        cover = (0.5 - distance / pixel).clamp(0, 1)
        inner = (0.5 - (distance + OUTLINE / RADIUS) / pixel).clamp(0, 1)
        colour = self._colour(facts)
        shaded = self._shade(colour, local_x.flatten(1), local_y.flatten(1), distance)
        edge = 0.35 * colour[:, :, None]
        painted = edge + (shaded - edge) * inner[:, None]
        index = flat[:, None].expand(-1, 3, -1)
        under = canvas.gather(2, index)
        canvas.scatter_(2, index, under + (painted - under) * cover[:, None])
        masks.scatter_(1, flat, cover)

    def _distance(self, x: Tensor, y: Tensor, facts: FrameFacts) -> Tensor:
        """Signed distance to each frame's shape, between two shapes while one fades into the other."""
        old, new, fade = facts.before[:, SHAPE], facts.after[:, SHAPE], facts.fade
        current = torch.empty(x.shape, device=self.device)
        for shape, distance in enumerate(SHAPE_DISTANCES):
            chosen = (new == shape).nonzero()[:, 0]
            current[chosen] = distance(x[chosen], y[chosen])
        for morph in ((old != new) & (fade[:, 0] < 1)).nonzero()[:, 0].tolist():
            earlier = SHAPE_DISTANCES[int(old[morph])](x[morph], y[morph])
            current[morph] = torch.lerp(earlier, current[morph], fade[morph])
        return current

    def _colour(self, facts: FrameFacts) -> Tensor:
        """The lit colour of each frame's object [N,3]."""
        old = self.colours[facts.before[:, COLOUR]] * self.lights[facts.before[:, TIME]]
        new = self.colours[facts.after[:, COLOUR]] * self.lights[facts.after[:, TIME]]
        return torch.lerp(old, new, facts.fade)

    def _shade(self, colour: Tensor, x: Tensor, y: Tensor, distance: Tensor) -> Tensor:
        """Light from the upper left, a soft highlight, darker towards the lower edge: [N,3,P*P]."""
        slope = (1.0 - 0.16 * (x + 1.6 * y)).clamp(0.62, 1.18)
        rim = (1 + 0.9 * (distance + 0.18).clamp(min=0, max=0.2) * -1).clamp(min=0.7)
        highlight = 0.55 * torch.exp(-(((x + 0.30) ** 2 + (y + 0.34) ** 2) / 0.035))
        body = colour[:, :, None] * (slope * rim)[:, None]
        return body + (1 - body) * highlight[:, None]

    def _shadow(self, canvas: Tensor, x: Tensor, y: Tensor) -> None:
        """A soft dark ellipse on the ground, fainter the higher the object."""
        columns, across = self._crop(x, CROP)
        rows, down = self._crop(torch.full_like(y, GROUND_LINE), 14)
        flat = (rows[:, :, None] * SIZE + columns[:, None, :]).flatten(1)
        lift = (GROUND_LINE - RADIUS - y).clamp(min=0)
        width = 0.75 * RADIUS * (1 - 0.5 * lift)
        square = ((across - x) / width)[:, None, :] ** 2 + ((down - GROUND_LINE) / 0.035)[:, :, None] ** 2
        dark = (0.42 - 0.7 * lift).clamp(min=0.12)[:, :, None] * torch.exp(-square)
        index = flat[:, None].expand(-1, 3, -1)
        canvas.scatter_(2, index, canvas.gather(2, index) * (1 - dark.flatten(1))[:, None])
