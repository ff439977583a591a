"""Where the pieces meet: streams of video blocks from one set of weights, under prompts that may change.

Knows model, cache, sampler, text and decoder; knows no process, no socket, no clock. Every method that changes a
stream leaves it at the end of a block. The clean pass of a finished block is deferred (`commit`), so that a block can
be sent before it runs; when it runs changes no bit.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cache.recache import Mode
from cache.snapshot import take_snapshot
from cache.window import PassPlan, SinkPolicy, WindowError, WindowState
from models.effects import commit, take_effect
from models.errors import PositionLimitError, RestoreError
from models.journal import (
    AdapterChoice,
    AttemptEvent,
    Event,
    Journal,
    OpeningEvent,
    PromptEvent,
    TakeEvent,
    Timeline,
    WeightedPrompt,
    adapters_at,
    check_event,
    take_at,
)
from models.making import FIRST_ATTEMPT, Check, Made, make_block, no_check
from models.memory import MemoryPlan, plan_memory
from models.noise import check_seed
from models.opening import Opening, clip_opening, picture_opening, stored_opening
from models.parts import Parts
from models.picture import read_picture
from models.prompts import embedding_at
from models.restore import stand_at
from models.stream import (
    Block,
    Interrupted,
    LatentSource,
    PromptChange,
    Snapshot,
    StageTimings,
    Stream,
    never,
)
from models.text import EncodedPrompt
from models.vae import RGB24, DecoderState


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorFacts:
    """What a front end tells about an engine."""

    model: str
    fingerprint: str
    parameters: int
    weight_bytes: int
    cache_bytes_per_stream: int
    device: str
    dtype: str
    attention: str
    adapters: tuple[str, ...]
    """Names of those that a stream may have."""


class Generator:
    """Makes blocks of streams. All calls come from one thread; the streams share the weights."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.preset = parts.preset

    def facts(self) -> GeneratorFacts:
        parts, model = self.parts, self.parts.passes.transformer
        return GeneratorFacts(
            model=self.preset.name,
            fingerprint=parts.fingerprint,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            weight_bytes=parts.weight_bytes,
            cache_bytes_per_stream=parts.cache_bytes,
            device=str(model.device),
            dtype=str(model.dtype).removeprefix("torch."),
            attention=parts.passes.kernel,
            adapters=parts.adapters.known,
        )

    def plan_memory(self, stream: Stream, *, budget_bytes: int | None = None) -> MemoryPlan:
        """How many streams like this one, which has made a block, fit into memory. Raises ConfigError if none."""
        return plan_memory(self.parts, stream, budget_bytes=budget_bytes)

    @torch.inference_mode()
    def read_prompt(self, text: str) -> EncodedPrompt:
        """How the text encoder reads a prompt: how far, and which words it does not know."""
        return self.parts.text_encoder.encode(text)

    def adapters_of(self, choices: Sequence[AdapterChoice] | None) -> tuple[AdapterChoice, ...]:
        """The set that a stream would have; None is the usual one. Raises AdapterError."""
        return self.parts.adapters.resolve(choices)

    def picture_opening(self, data: bytes) -> Opening:
        """A beginning for `start`: the picture in a PNG, JPEG or WebP file, held for one block. Raises OpeningError."""
        return picture_opening(self.parts, read_picture(data, width=self.preset.width, height=self.preset.height))

    def clip_opening(self, frames: RGB24) -> Opening:
        """A beginning for `start`: as many blocks as frames [T, H, W, 3] of the preset's size fill."""
        return clip_opening(self.parts, frames)

    def start(
        self,
        prompts: Sequence[WeightedPrompt],
        *,
        seed: int,
        opening: Opening | None = None,
        adapters: Sequence[AdapterChoice] | None = None,
    ) -> Stream:
        """A new stream; its first blocks are those of the opening. Raises SeedError, PromptError or AdapterError.

        Args:
            adapters: its set; None is the engine's usual one.
        """
        check_seed(seed)
        known = self.parts.adapters
        chosen = known.resolve(adapters)
        first = PromptEvent(block=0, prompts=tuple(prompts), adapters=chosen if known.known else None)
        check_event(first)
        given = opening.blocks if opening is not None else ()
        events = (first, OpeningEvent(blocks=len(given))) if given else (first,)
        stream = self._new_stream(Journal(model=self.preset.name, seed=seed, fingerprint="", events=events))
        stream.opening = given
        return stream

    def set_prompt(
        self,
        stream: Stream,
        prompts: Sequence[WeightedPrompt],
        *,
        mode: Mode = "recache",
        sink: SinkPolicy = "keep",
        transition_chunks: int = 0,
        event_id: str = "",
        adapters: Sequence[AdapterChoice] | None = None,
    ) -> PromptChange:
        """Change the prompt from the next block on, and with it the adapters where some are given.

        Raises PromptError, ChangeError or AdapterError; the stream is then unchanged.
        """
        self._check_open(stream)
        event = PromptEvent(
            block=stream.next_block,
            prompts=tuple(prompts),
            mode=mode,
            sink=sink,
            transition_chunks=transition_chunks,
            event_id=event_id,
            adapters=None if adapters is None else self.parts.adapters.resolve(adapters),
        )
        check_event(event)
        waiting = [other for other in stream.future if isinstance(other, PromptEvent) and other.block == event.block]
        superseded = (*stream.unshown, *(other.event_id for other in waiting))
        stream.unshown.clear()
        stream.reached.clear()
        rest = [other for other in stream.future if other not in waiting]
        stream.future = deque(sorted([*rest, event], key=lambda other: other.block))
        return PromptChange(event.block, tuple(filter(None, superseded)))

    @torch.inference_mode()
    def step(self, stream: Stream, interrupted: Interrupted = never, *, check: Check = no_check) -> Block | None:
        """Make the next block; None if `interrupted()` became true between its passes, which leaves nothing behind.

        A block that `check` finds faulty, or that is not finite, is made once more, with other noise. Raises
        FaultyBlockError where that one is faulty too, PositionLimitError where absolute positions are used up; the
        stream then stands where it stood.
        """
        self._check_open(stream)
        timings, stream.between = stream.between, StageTimings(exact=stream.between.exact)
        take_effect(self.parts, stream, timings=timings)
        plan = self._plan_block(stream)
        made = make_block(self.parts, stream, plan=plan, interrupted=interrupted, check=check, timings=timings)
        if made is None:
            # What took effect stays done, so its time belongs to the block; the passes given up do not.
            timings.denoise = timings.decode = 0.0
            stream.between = timings
            return None
        block = Block(
            index=stream.next_block,
            scene_block=stream.scene_block,
            take=stream.take,
            attempt=made.attempt,
            latents=made.latents,
            context=made.context,
            frames=made.frames,
            started=tuple(filter(None, stream.unshown)),
            completed=tuple(filter(None, stream.reached)),
            timings=timings,
        )
        self._finish(stream, made, plan)
        return block

    @torch.inference_mode()
    def commit(self, stream: Stream, timings: StageTimings | None = None) -> None:
        """Run the last block's clean pass, if it is still to be run. `step` does so itself where it is needed.

        Its time is told with the next block.
        """
        commit(self.parts, stream, timings=timings or stream.between)

    def save(self, stream: Stream) -> Snapshot:
        """An exact copy in host memory, for `restore` at the same block."""
        self._check_open(stream)
        self.commit(stream)
        memory = tuple(tensor.to("cpu", copy=True) for tensor in stream.decoder.memory)
        return Snapshot(
            block=stream.next_block,
            seed=stream.seed,
            events=Timeline.of(stream.log).events,
            cache=take_snapshot(stream.cache, stream.window.valid_slots(stream.window.end)),
            decoder=DecoderState(memory, stream.decoder.latents),
            history=tuple(latents.to("cpu") for latents in stream.history),
        )

    def restore(
        self,
        journal: Journal,
        latents: LatentSource,
        block: int,
        *,
        snapshot: Snapshot | None = None,
        opening: LatentSource | None = None,
    ) -> Stream:
        """A stream at the end of block `block` - 1, from which `step` goes on as the journal's own did, bit for bit.

        Without a snapshot by clean-pass replay, which reads some of the blocks before `block` from `latents`. What
        the journal holds from `block` on takes effect as it did. Raises RestoreError where things do not belong
        together or latents are missing.

        Args:
            opening: where the blocks that the stream was given are; None: among `latents`, as they are unless a cut
                came within them. They are all read.
        """
        check_seed(journal.seed)
        if journal.model != self.preset.name:
            message = f"the journal is of model {journal.model!r}, this engine serves {self.preset.name!r}"
            raise RestoreError(message, field="model")
        stream = self._new_stream(journal)
        given = Timeline.of(journal.events).given
        stream.opening = stored_opening(self.parts, latents if opening is None else opening, blocks=given).blocks
        stand_at(self.parts, stream, latents=latents, block=block, snapshot=snapshot)
        return stream

    def rewind(
        self,
        stream: Stream,
        latents: LatentSource,
        block: int,
        *,
        same_noise: bool = False,
        take: int | None = None,
        snapshot: Snapshot | None = None,
    ) -> int:
        """Go back to the end of block `block` - 1 and begin a take there; its number.

        Args:
            same_noise: the take that `block` was last made in, and so its noise.
            take: the number of the take, else; None is the next one of this stream.
            snapshot: a copy taken at `block`, in place of clean-pass replay.
        """
        log = self._log_before(stream, block)
        if same_noise:
            take = take_at(stream.log, block=block)
        elif take is None:
            take = max((event.take for event in stream.log if isinstance(event, TakeEvent)), default=0) + 1
        stream.log = [*log, TakeEvent(block=block, take=take)]
        stand_at(self.parts, stream, latents=latents, block=block, snapshot=snapshot)
        return take

    def take_back(self, stream: Stream, latents: LatentSource, block: int, *, snapshot: Snapshot | None = None) -> None:
        """Go back to the end of block `block` - 1 as if what is after it had not been made yet.

        What took effect in it, or is still to, takes effect again at its block: if nothing else comes, the same
        blocks are made again.
        """
        log = self._log_before(stream, block)
        _, again = Timeline.of(stream.log).split(block)
        waiting = stream.future
        stream.log = [*log, TakeEvent(block=block, take=take_at(stream.log, block=block))]
        stand_at(self.parts, stream, latents=latents, block=block, snapshot=snapshot)
        stream.future = deque([*again, *waiting])

    def _log_before(self, stream: Stream, block: int) -> list[Event]:
        self._check_open(stream)
        if not 0 <= block <= stream.next_block:
            raise RestoreError(f"block must be 0..{stream.next_block} to go back to, not {block}", field="block")
        return list(stream.log)

    def close(self, stream: Stream) -> None:
        """End a stream; its memory is free when the caller lets go of it."""
        stream.closed = True
        stream.history.clear()

    def _new_stream(self, journal: Journal) -> Stream:
        parts = self.parts
        first = Timeline.of(journal.events).first
        embedding, adapters = embedding_at(parts.encode, [first], block=0), adapters_at([first], block=0)
        parts.adapters.put(adapters)
        return Stream(
            model=journal.model,
            seed=journal.seed,
            fingerprint=parts.fingerprint,
            cache=parts.passes.new_cache(),
            window=WindowState(parts.spec),
            text=parts.embed_text(embedding).clone(),
            embedding=embedding,
            adapters=adapters,
            decoder=parts.decoder.start(),
            history=parts.new_history(),
            log=list(journal.events),
            events=[first],
        )

    def _plan_block(self, stream: Stream) -> PassPlan:
        try:
            return stream.window.plan_block()
        except WindowError as error:
            raise PositionLimitError(str(error), field=error.field) from error

    def _finish(self, stream: Stream, made: Made, plan: PassPlan) -> None:
        if made.attempt != stream.attempt:
            stream.log.append(AttemptEvent(block=stream.next_block, attempt=made.attempt))
        stream.attempt = FIRST_ATTEMPT
        stream.decoder = made.decoder
        stream.history.append(made.latents)
        stream.window = stream.window.advance()
        if made.context is not None:
            stream.cache.commit(plan)
        elif not made.clean:
            stream.uncommitted = plan
        stream.next_block += 1
        stream.unshown.clear()
        stream.reached.clear()

    def _check_open(self, stream: Stream) -> None:
        assert not stream.closed, "the stream is closed"
