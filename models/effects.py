"""What happens to a stream before its next block is made: events that are due, blends that end, the last clean pass.

Functions of parts and stream, called by the generator alone. Invariant: what has taken effect is in the stream's log,
and doing it again at the same block (after an interrupted step) does nothing.
"""

from cache.recache import rebuild
from models.journal import AttemptEvent, PromptEvent, TakeEvent, adapters_at
from models.parts import Parts
from models.restore import put_text
from models.stream import StageTimings, Stream


def take_effect(parts: Parts, stream: Stream, *, timings: StageTimings) -> None:
    """Let everything that is due at the next block take effect."""
    blend = stream.blending
    if blend is not None and blend.reached == stream.next_block:
        _reach(parts, stream, blend, timings=timings)
    while stream.future and stream.future[0].block <= stream.next_block:
        event = stream.future.popleft()
        stream.log.append(event)
        match event:
            case TakeEvent():
                stream.take = event.take
            case AttemptEvent():
                stream.attempt = event.attempt
            case PromptEvent():
                _begin(parts, stream, event, timings=timings)
            case _:
                raise AssertionError("an opening has taken effect when its stream begins")
    commit(parts, stream, timings=timings)
    _set_text(parts, stream, timings)


def commit(parts: Parts, stream: Stream, *, timings: StageTimings) -> None:
    """Run the last block's clean pass, if it is still to be run."""
    plan, stream.uncommitted = stream.uncommitted, None
    if plan is None:
        return
    parts.adapters.put(adapters_at(stream.events, block=stream.next_block - 1))
    with timings.measure("clean"):
        parts.rebuild(stream.cache, plan, frames=stream.scene_frames, text=stream.text)


def _begin(parts: Parts, stream: Stream, event: PromptEvent, *, timings: StageTimings) -> None:
    stream.events.append(event)
    stream.unshown.append(event.event_id)
    stream.blending = event
    if event.reached == event.block:
        _reach(parts, stream, event, timings=timings)


def _reach(parts: Parts, stream: Stream, event: PromptEvent, *, timings: StageTimings) -> None:
    """The next block is the first to be made under the whole new prompt."""
    stream.blending = None
    _change_past(parts, stream, event, timings=timings)
    stream.reached.append(event.event_id)


def _change_past(parts: Parts, stream: Stream, event: PromptEvent, *, timings: StageTimings) -> None:
    """What the event's mode does to the window; the clean pass before it runs only if something of it is kept."""
    if event.mode == "keep":
        commit(parts, stream, timings=timings)
    stream.window, plan = rebuild(stream.window, event.mode, sink=event.sink)
    if event.mode == "cut":
        stream.scene_start, stream.decoder = stream.next_block, parts.decoder.start()
        stream.history.clear()
        stream.uncommitted = None
    if plan is None:
        return
    # The rebuild writes the last block's keys and values itself.
    stream.uncommitted = None
    _set_text(parts, stream, timings)
    with timings.measure("recache"):
        parts.rebuild(stream.cache, plan, frames=stream.scene_frames, text=stream.text)


def _set_text(parts: Parts, stream: Stream, timings: StageTimings) -> None:
    with timings.measure("text"):
        put_text(parts, stream, events=stream.events, block=stream.next_block)
