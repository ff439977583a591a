"""Cached keys and values against plain passes in float64 that keep no cache, and the equivalences a recache rests on.

`Plain` keeps lists: for each frame held, the keys and values that a whole pass over the frames then present gave it.
It attends with the reference attention, over concatenated tensors, and knows no slot, no ring and no plan.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cache.kv import KVCache
from cache.recache import MODES, Mode, rebuild, run_pass
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, Positions, SinkPolicy, WindowSpec, WindowState
from models.attention import reference_attention
from models.config import TransformerConfig
from models.passes import CachedPasses
from models.pieces import randomise
from models.rope import rotate, time_rotation
from models.transformer import PassContext, Transformer

CONFIG = TransformerConfig(
    dim=24, ffn_dim=32, num_layers=3, num_heads=2, text_dim=8, text_len=5, in_channels=4, out_channels=4, freq_dim=16
)
HEIGHT, WIDTH, TOKENS = 4, 4, 4
TOLERANCE = 1e-5
KeysValues = tuple[Tensor, Tensor]


def make_transformer() -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        transformer = Transformer(CONFIG)
        randomise(transformer)
    return transformer.eval().requires_grad_(False)


def latent(frame: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 + frame)
    return torch.randn(1, 1, 4, HEIGHT, WIDTH, generator=generator)


def latents(first: int, count: int) -> Tensor:
    return torch.cat([latent(frame) for frame in range(first, first + count)], dim=1)


def prompt(number: int) -> Tensor:
    return torch.randn(1, CONFIG.text_len, CONFIG.text_dim, generator=torch.Generator().manual_seed(number))


@dataclass(slots=True)
class Recording:
    """Attention of one plain pass: all queries see the given past and the pass's own keys from `hidden` frames on."""

    past: list[KeysValues]
    hidden: int = 0
    made: list[KeysValues] = field(default_factory=list)

    def attend(self, layer: int, q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor) -> Tensor:
        self.made.append((k_BNHD, v_BNHD))
        own = slice(self.hidden * TOKENS, None)
        keys, values = k_BNHD[:, own], v_BNHD[:, own]
        if self.past:
            keys = torch.cat([self.past[layer][0], keys], dim=1)
            values = torch.cat([self.past[layer][1], values], dim=1)
        return reference_attention(q_BNHD, keys, values)


class Plain:
    """Whole passes in float64, and lists of frames; `sink` and `ring` hold (frame, keys and values of each layer)."""

    def __init__(self, transformer: Transformer, spec: WindowSpec) -> None:
        self.model = deepcopy(transformer).double()
        self.spec = spec
        self.end = 0
        self.sink: list[tuple[int, list[KeysValues]]] = []
        self.ring: list[tuple[int, list[KeysValues]]] = []

    def forward(self, first: int, count: int, *, text: int, past: list[KeysValues], hidden: int = 0) -> Recording:
        recording = Recording(past, hidden)
        rope = self.model.rope(range(first, first + count), height=HEIGHT, width=WIDTH)
        context = PassContext(rope, self.model.embed_text(prompt(text).double()), recording)
        time = self.model.embed_time(torch.zeros(1, count))
        self.model(latents(first, count).double(), time=time, context=context)
        return recording

    def turned_sink(self) -> list[tuple[int, list[KeysValues]]]:
        """The sink directly before the oldest frame of the ring, or where it was made."""
        if not self.sink or not self.ring or self.spec.positions == "absolute":
            return self.sink
        shift = self.ring[0][0] - len(self.sink) - self.sink[0][0]
        rotation = time_rotation(CONFIG.head_dim, shift)
        return [(frame, [(rotate(k, rotation), v) for k, v in layers]) for frame, layers in self.sink]

    def held(self) -> list[tuple[int, list[KeysValues]]]:
        return self.turned_sink() + self.ring

    @staticmethod
    def joined(frames: list[tuple[int, list[KeysValues]]]) -> list[KeysValues]:
        """Keys and values by layer, as a pass attends to them."""
        if not frames:
            return []
        layers = zip(*(layers for _, layers in frames), strict=True)
        return [(torch.cat([k for k, _ in one], 1), torch.cat([v for _, v in one], 1)) for one in layers]

    def store(self, first: int, recording: Recording) -> None:
        count = recording.made[0][0].shape[1] // TOKENS
        for number in range(count):
            own = slice(number * TOKENS, (number + 1) * TOKENS)
            frame = (first + number, [(k[:, own], v[:, own]) for k, v in recording.made])
            (self.sink if len(self.sink) < self.spec.sink_frames else self.ring).append(frame)
        self.ring = self.ring[max(0, len(self.ring) - self.spec.ring) :]

    def add_block(self, text: int) -> None:
        first, count = self.end, self.spec.block_frames
        # The block's own frames push the oldest out before it attends.
        self.ring = self.ring[max(0, len(self.ring) + count - self.spec.ring) :]
        past = self.joined(self.shifted_for(first))
        self.store(first, self.forward(first, count, text=text, past=past))
        self.end += count

    def shifted_for(self, first: int) -> list[tuple[int, list[KeysValues]]]:
        """What a block at `first` attends to; the sink stands before the block itself where there is no past."""
        if self.ring or not self.sink:
            return self.held()
        self.ring = [(first, self.sink[0][1])]
        turned = self.turned_sink()
        self.ring = []
        return turned

    def change(self, mode: Mode, sink: SinkPolicy, text: int) -> None:
        slots, block = self.spec.slots, self.spec.block_frames
        first = max(0, self.end - slots)
        if mode == "keep" or self.end == 0:
            return
        if mode == "flush" and self.end - block >= self.spec.sink_frames:
            self.rebuild_ring(self.end - block, block, text)
        elif first == 0 or sink == "refresh":
            self.sink, self.ring = [], []
            self.store(first, self.forward(first, self.end - first, text=text, past=[]))
        else:
            self.rebuild_ring(self.end - self.spec.ring, self.spec.ring, text)

    def rebuild_ring(self, first: int, count: int, text: int) -> None:
        self.ring = []
        past = self.joined(self.shifted_for(first))
        recording = self.forward(first, count, text=text, past=past)
        self.store(first, recording)


class Cached:
    """The same through window, cache and passes of the product."""

    def __init__(self, transformer: Transformer, spec: WindowSpec) -> None:
        self.passes = CachedPasses(transformer, spec, height=HEIGHT, width=WIDTH)
        self.cache = self.passes.new_cache()
        self.state = WindowState(spec)

    def text(self, number: int) -> TextKeysValues:
        return self.passes.transformer.embed_text(prompt(number))

    def write(self, plan: PassPlan, text: int) -> None:
        time = self.passes.embed_timestep(0.0)
        self.passes.rebuild(self.cache, plan, frames=latents, text=self.text(text), time=time)

    def add_block(self, text: int) -> None:
        plan = self.state.plan_block()
        context = self.passes.prepare(self.cache, plan, text=self.text(text))
        noise = latents(10_000 + self.state.end, plan.frames)
        self.passes.transformer(noise, time=self.passes.embed_timestep(700.0), context=context)
        self.write(plan, text)
        self.state = self.state.advance()

    def change(self, mode: Mode, sink: SinkPolicy, text: int) -> None:
        self.state, plan = rebuild(self.state, mode, sink=sink)
        if plan is not None:
            self.write(plan, text)


def check_equal(cached: Cached, plain: Plain) -> None:
    """Every key and value in use, frame by frame; the sink where it stands, and as it was made."""
    spec, state = cached.state.spec, cached.state
    assert state.valid_slots(state.end) == len(plain.sink) + len(plain.ring)
    cached.cache.begin(replace(state.plan_clean(state.end), sink_shift=state.sink_shift(state.end)), cached.passes.turn)
    for place, (frame, layers) in enumerate(plain.held()):
        slot = place if place < len(plain.sink) else spec.sink_frames + (frame - state.ring_origin) % spec.ring
        tokens = slice(slot * TOKENS, (slot + 1) * TOKENS)
        for layer, (keys, values) in enumerate(layers):
            found = cached.cache.keys_LBNHD[layer, :, tokens], cached.cache.values_LBNHD[layer, :, tokens]
            assert (found[0] - keys).abs().max() < TOLERANCE, f"key of frame {frame}, layer {layer}"
            assert (found[1] - values).abs().max() < TOLERANCE, f"value of frame {frame}, layer {layer}"


WINDOWS = {
    "usual": WindowSpec(),
    "no sink": WindowSpec(window_frames=6, sink_frames=0),
    "short sink": WindowSpec(window_frames=8, sink_frames=1),
    "blocks of two": WindowSpec(window_frames=7, sink_frames=2, block_frames=2),
    "smallest": WindowSpec(window_frames=6),
    "everything": WindowSpec(window_frames=None, capacity_frames=48),
}


def make_both(spec: WindowSpec) -> tuple[Cached, Plain]:
    transformer = make_transformer()
    return Cached(transformer, spec), Plain(transformer, spec)


def make_cached() -> Cached:
    return Cached(make_transformer(), WindowSpec())


@torch.inference_mode()
@pytest.mark.parametrize("positions", ["relative", "absolute"])
@pytest.mark.parametrize("sink", ["keep", "refresh"])
@pytest.mark.parametrize("mode", ["recache", "flush"])
@pytest.mark.parametrize("blocks", [1, 3, 4, 5, 8])
def test_after_a_rebuild_as_plain_passes(positions: Positions, sink: SinkPolicy, mode: Mode, blocks: int) -> None:
    cached, plain = make_both(WindowSpec(positions=positions))
    for _ in range(blocks):
        cached.add_block(text=1)
        plain.add_block(text=1)
    for text in (2, 3):
        cached.change(mode, sink, text)
        plain.change(mode, sink, text)
        check_equal(cached, plain)
        for _ in range(2):
            cached.add_block(text)
            plain.add_block(text)
            check_equal(cached, plain)


@torch.inference_mode()
@pytest.mark.parametrize("name", WINDOWS)
def test_a_long_history_as_plain_passes(name: str) -> None:
    cached, plain = make_both(WINDOWS[name])
    policies: dict[int, tuple[Mode, SinkPolicy]] = {
        3: ("flush", "keep"),
        7: ("recache", "keep"),
        9: ("recache", "refresh"),
        12: ("flush", "keep"),
        13: ("keep", "keep"),
        14: ("recache", "keep"),
    }
    for block in range(16):
        if block in policies:
            mode, sink = policies[block]
            cached.change(mode, sink, text=block)
            plain.change(mode, sink, text=block)
        cached.add_block(text=block)
        plain.add_block(text=block)
        check_equal(cached, plain)


@torch.inference_mode()
@pytest.mark.parametrize("sink", ["keep", "refresh"])
def test_the_new_prompt_is_in_the_past(sink: SinkPolicy) -> None:
    """Under another prompt the rebuilt keys are others, from the second layer on; the first sees no text."""
    one, two = make_cached(), make_cached()
    for cached, text in ((one, 2), (two, 3)):
        for _ in range(6):
            cached.add_block(text=1)
        cached.change("recache", sink, text)
    assert torch.equal(one.cache.keys_LBNHD[0], two.cache.keys_LBNHD[0])
    ring = slice(3 * TOKENS, None)
    assert not torch.isclose(one.cache.keys_LBNHD[1, :, ring], two.cache.keys_LBNHD[1, :, ring]).all()
    sinks = [cached.cache.values_LBNHD[1:, :, : 3 * TOKENS] for cached in (one, two)]
    assert torch.equal(*sinks) == (sink == "keep")


@torch.inference_mode()
@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_nine_frames_fed_equal_twelve_where_the_sink_is_kept(positions: Positions) -> None:
    """As published twelve frames are fed, the first three unseen by all: the keys stored are the same."""
    cached, plain = make_both(WindowSpec(positions=positions))
    for _ in range(6):
        cached.add_block(text=1)
        plain.add_block(text=1)
    plain.change("recache", "keep", text=2)
    past = plain.joined(plain.turned_sink())
    twelve = plain.forward(6, 12, text=2, past=past, hidden=3)
    cached.change("recache", "keep", text=2)
    assert cached.state.plan_recache("keep").plan.frames == 9
    nine = plain.joined(plain.ring)
    for layer, (keys, values) in enumerate(twelve.made):
        stored = slice(3 * TOKENS, None)
        assert (keys[:, stored] - nine[layer][0]).abs().max() < 1e-12
        assert (values[:, stored] - nine[layer][1]).abs().max() < 1e-12
    check_equal(cached, plain)


@torch.inference_mode()
def test_relative_and_absolute_are_bit_equal_until_the_window_is_full() -> None:
    relative, absolute = make_cached(), Cached(make_transformer(), WindowSpec(positions="absolute"))
    for block in range(6):
        for cached in (relative, absolute):
            cached.add_block(text=1)
        same = torch.equal(relative.cache.values_LBNHD, absolute.cache.values_LBNHD)
        assert same == (block < 4), f"after block {block}"
        assert torch.equal(relative.cache.keys_LBNHD, absolute.cache.keys_LBNHD) == (block < 4)


@torch.inference_mode()
@pytest.mark.parametrize("shift", [3, 300, 3000])
def test_relative_does_not_feel_where_the_scene_stands(shift: int) -> None:
    """Every plan moved by so many positions, the outputs are the same: no position is felt but relative ones."""
    transformer = make_transformer()
    outputs = []
    for moved in (0, shift):
        cached = Cached(transformer, WindowSpec())
        for block in range(8):
            plan = cached.state.plan_block()
            there = replace(plan, first_frame=plan.first_frame + moved)
            context = cached.passes.prepare(cached.cache, there, text=cached.text(1))
            noisy = latents(500 + 3 * block, 3)
            outputs.append(transformer(noisy, time=cached.passes.embed_timestep(500.0), context=context))
            transformer(latents(plan.first_frame, 3), time=cached.passes.embed_timestep(0.0), context=context)
            cached.cache.commit(there)
            cached.state = cached.state.advance()
    for here, there_too in zip(outputs[:8], outputs[8:], strict=True):
        assert (here - there_too).abs().max() < 1e-4


def test_what_a_mode_rebuilds() -> None:
    state = WindowState(WindowSpec()).advance(6)
    fed: dict[Mode, int | None] = {}
    for mode in MODES:
        after, plan = rebuild(state, mode, sink="keep")
        fed[mode] = None if plan is None else plan.frames
        assert after.end == (0 if mode == "cut" else state.end)
    assert fed == {"recache": 9, "flush": 3, "cut": None, "keep": None}
    refreshed = rebuild(state, "recache", sink="refresh")[1]
    assert refreshed is not None
    assert refreshed.frames == 12


@pytest.mark.parametrize("mode", MODES)
def test_before_the_first_block_there_is_nothing_to_rebuild(mode: Mode) -> None:
    state = WindowState(WindowSpec())
    assert rebuild(state, mode, sink="refresh") == (state, None)


def test_a_pass_is_begun_run_and_committed_in_this_order() -> None:
    calls: list[str] = []

    class Watched(KVCache):
        def begin(self, plan: PassPlan, turn: Any) -> None:
            calls.append("begin")

        def commit(self, plan: PassPlan) -> None:
            calls.append("commit")

    cache = Watched(WindowSpec(), make_cached().passes.cache_shape(), dtype=torch.float32)
    plan = WindowState(WindowSpec()).advance(2).plan_block()
    given: list[tuple[int, int]] = []

    def frames(first: int, count: int) -> Tensor:
        given.append((first, count))
        return torch.zeros(1, count, 4, 4, 4)

    def forward(frames_BFCHW: Tensor, planned: PassPlan) -> None:
        assert planned is plan
        calls.append(f"forward over {frames_BFCHW.shape[1]}")

    run_pass(cache, plan, frames=frames, forward=forward, turn=lambda keys, shift: keys)
    assert (calls, given) == (["begin", "forward over 3", "commit"], [(6, 3)])
