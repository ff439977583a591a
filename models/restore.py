"""Brings a stream to the end of any block, exactly: from a copy, or from journal and latents by clean-pass replay.

What each part of a stream's state is made from is in design section 1; here is the order. Every pass that is run is
one the live stream ran, with the same inputs in the same slots, so the bits are the same. Knows no sampler: nothing
is denoised.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from cache.replay import ReplayPass, ReplayPlan, plan_replay
from cache.snapshot import put_snapshot
from models.errors import RestoreError
from models.journal import Event, PromptEvent, TakeEvent, Timeline, adapters_at, changes
from models.parts import Parts
from models.prompts import embedding_at
from models.stream import LatentSource, Snapshot, Stream, read_block
from models.vae import DecoderState, rebuild_state


def put_text(parts: Parts, stream: Stream, *, events: Sequence[Event], block: int) -> None:
    """Put the weights and the text that `block` is made with, given `events`, in place."""
    adapters = adapters_at(events, block=block)
    parts.adapters.put(adapters)
    embedding = embedding_at(parts.encode, events, block=block)
    same = stream.embedding is not None and torch.equal(embedding, stream.embedding)
    if not same or adapters != stream.adapters:
        stream.text.update(parts.embed_text(embedding))
        stream.embedding, stream.adapters = embedding, adapters


@torch.inference_mode()
def stand_at(
    parts: Parts, stream: Stream, *, latents: LatentSource, block: int, snapshot: Snapshot | None = None
) -> None:
    """Set all of a stream's state to the end of block `block` - 1, from its log. Raises RestoreError."""
    if block < 0:
        raise RestoreError(f"block must be 0 or more, not {block}", field="block")
    past, future = Timeline.of(stream.log).split(block)
    if future:
        stream.log = _log_until(stream.log, past, first=future[0])
    plan = plan_replay(
        parts.spec, layers=parts.passes.transformer.config.num_layers, changes=changes(past, before=block), block=block
    )
    _set_counters(stream, past, future, plan=plan, block=block)
    stream.history = parts.new_history()
    if snapshot is not None:
        _check_copy(stream, snapshot, events=(*past, *future))
        _from_copy(parts, stream, snapshot)
    else:
        _from_latents(parts, stream, latents, plan=plan, events=past)
    put_text(parts, stream, events=past, block=max(block - 1, 0))


def _log_until(log: Sequence[Event], past: Sequence[Event], *, first: Event) -> list[Event]:
    """The log without what is to come, which begins with `first`; turns that were taken back before stay in it."""
    # The last one: a turn that was taken back may have held the same event.
    done = list(log[: max(place for place, event in enumerate(log) if event is first)])
    # A turn that is still to be taken back from where it stands now would count as the present one.
    return done if Timeline.of(done).events == tuple(past) else list(past)


def _set_counters(
    stream: Stream, past: Sequence[Event], future: Sequence[Event], *, plan: ReplayPlan, block: int
) -> None:
    stream.events = [event for event in past if isinstance(event, PromptEvent)]
    stream.future = deque(future)
    stream.take = next((event.take for event in reversed(past) if isinstance(event, TakeEvent)), 0)
    stream.attempt = 0
    newest = stream.events[-1]
    stream.blending = newest if newest.block < block <= newest.reached else None
    stream.unshown.clear()
    stream.reached.clear()
    stream.uncommitted = None
    stream.next_block, stream.scene_start, stream.window = block, plan.scene_start, plan.window


def _check_copy(stream: Stream, snapshot: Snapshot, *, events: Sequence[Event]) -> None:
    """Raise RestoreError unless the copy was taken on the way that `events` tell of, at this block.

    A prompt that had taken effect at this block already may be in the copy: it is done once more, and is then the
    same. A take that begins here changes only what is to come.
    """
    block = stream.next_block
    copied = [event for event in snapshot.events if event.block < block or isinstance(event, PromptEvent)]
    asked = [event for event in events if event.block < block or isinstance(event, PromptEvent)]
    made = sum(event.block < block for event in asked)
    same_way = made <= len(copied) and copied == asked[: len(copied)]
    if (snapshot.block, snapshot.seed) != (block, stream.seed) or not same_way:
        message = (
            f"the copy is of block {snapshot.block}, seed {snapshot.seed} and {len(copied)} events; "
            f"asked for is block {block}, seed {stream.seed} and {made} events"
        )
        raise RestoreError(message + ("" if same_way else ", of another course"), field="snapshot")


def _from_copy(parts: Parts, stream: Stream, snapshot: Snapshot) -> None:
    put_snapshot(stream.cache, snapshot.cache)
    memory = tuple(tensor.to(parts.device) for tensor in snapshot.decoder.memory)
    stream.decoder = DecoderState(memory, snapshot.decoder.latents)
    stream.history.extend(latents.to(parts.device) for latents in snapshot.history)


def _from_latents(
    parts: Parts, stream: Stream, latents: LatentSource, *, plan: ReplayPlan, events: Sequence[Event]
) -> None:
    scene = _SceneLatents(parts, latents, scene_start=plan.scene_start)
    for item in plan.passes:
        known = events if item.event is None else events[: item.event + 1]
        put_text(parts, stream, events=known, block=item.block)
        context = scene.context(item)
        if context is None:
            parts.rebuild(stream.cache, item.plan, frames=scene.frames, text=stream.text)
        else:
            parts.repeat_last_pass(stream.cache, item.plan, context=context, text=stream.text)
    held = stream.history.maxlen or 0
    for block in range(max(plan.scene_start, stream.next_block - held), stream.next_block):
        stream.history.append(scene.block(block))
    position = plan.window.end
    needed = min(position, parts.decoder.receptive_latents)
    before = scene.frames(position - needed, needed)[0].float() if needed else ()
    stream.decoder = rebuild_state(parts.decoder, tuple(before), position=position)


class _SceneLatents:
    """A scene's latent frames, read block by block."""

    def __init__(self, parts: Parts, latents: LatentSource, *, scene_start: int) -> None:
        self._parts, self._latents, self._start = parts, latents, scene_start

    def block(self, block: int) -> Tensor:
        parts = self._parts
        record = read_block(self._latents, block, shape=parts.block_shape)
        return record.latents.to(parts.device, parts.latent_dtype)

    def context(self, item: ReplayPass) -> Tensor | None:
        """What the last pass of a block was given, where that pass is the one to be run again."""
        parts = self._parts
        if item.event is not None or not parts.reuses_last_pass:
            return None
        found = read_block(self._latents, item.block, shape=parts.block_shape).context
        return None if found is None else found.to(parts.device, parts.latent_dtype)

    def frames(self, first: int, count: int) -> Tensor:
        """[1, count, C, H, W]"""
        per_block = self._parts.spec.block_frames
        blocks = range(first // per_block, -(-(first + count) // per_block))
        joined = torch.cat([self.block(self._start + block) for block in blocks])
        offset = first - blocks.start * per_block
        return joined[offset : offset + count][None]
