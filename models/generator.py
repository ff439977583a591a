"""Where the pieces meet: streams of video blocks from one set of weights, under prompts that may change.

Knows model, cache, sampler, text and decoder; knows no process, no socket, no clock. Every method that changes a
stream leaves it at the end of a block. The clean pass of a finished block is deferred (`commit`), so that a block can
be sent before it runs; when it runs changes no bit.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cache.recache import Mode, rebuild
from cache.snapshot import take_snapshot
from cache.window import PassPlan, SinkPolicy, WindowError, WindowState
from models.errors import PositionLimitError, RestoreError
from models.journal import Journal, OpeningEvent, PromptEvent, TakeEvent, Timeline, WeightedPrompt, check_event
from models.memory import MemoryPlan, plan_memory
from models.noise import NoiseKey, check_seed, draw_noise
from models.opening import Opening, clip_opening, picture_opening, stored_opening
from models.parts import Parts
from models.picture import read_picture
from models.prompts import embedding_at
from models.restore import put_text, stand_at
from models.sampler import denoise_block, to_x0
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
from models.vae import RGB24, DecoderState, to_rgb24

FIRST_ATTEMPT = 0


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
        )

    def plan_memory(self, stream: Stream, *, budget_bytes: int | None = None) -> MemoryPlan:
        """How many streams like this one, which has made a block, fit into memory. Raises ConfigError if none."""
        return plan_memory(self.parts, stream, budget_bytes=budget_bytes)

    @torch.inference_mode()
    def read_prompt(self, text: str) -> EncodedPrompt:
        """How the text encoder reads a prompt: how far, and which words it does not know."""
        return self.parts.text_encoder.encode(text)

    def picture_opening(self, data: bytes) -> Opening:
        """A beginning for `start`: the picture in a PNG, JPEG or WebP file, held for one block. Raises OpeningError."""
        return picture_opening(self.parts, read_picture(data, width=self.preset.width, height=self.preset.height))

    def clip_opening(self, frames: RGB24) -> Opening:
        """A beginning for `start`: as many blocks as frames [T, H, W, 3] of the preset's size fill."""
        return clip_opening(self.parts, frames)

    def start(self, prompts: Sequence[WeightedPrompt], *, seed: int, opening: Opening | None = None) -> Stream:
        """A new stream; its first blocks are those of the opening. Raises SeedError or PromptError."""
        check_seed(seed)
        first = PromptEvent(block=0, prompts=tuple(prompts))
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
    ) -> PromptChange:
        """Change the prompt from the next block on. Raises PromptError or ChangeError; the stream is then unchanged."""
        self._check_open(stream)
        event = PromptEvent(
            block=stream.next_block,
            prompts=tuple(prompts),
            mode=mode,
            sink=sink,
            transition_chunks=transition_chunks,
            event_id=event_id,
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
    def step(self, stream: Stream, interrupted: Interrupted = never) -> Block | None:
        """Make the next block; None if `interrupted()` became true between its passes, which leaves nothing behind.

        Raises PositionLimitError where absolute positions are used up.
        """
        self._check_open(stream)
        timings, stream.between = stream.between, StageTimings()
        self._take_effect(stream, timings)
        plan = self._plan_block(stream)
        with timings.measure("denoise"):
            given = stream.given
            latents = self._denoise(stream, plan, interrupted) if given is None else given.to(self.parts.device)
        if latents is None:
            # What took effect stays done, so its time belongs to the block; the passes given up do not.
            timings.denoise = 0.0
            stream.between = timings
            return None
        with timings.measure("decode"):
            frames, decoder = self._decode(latents, stream.decoder)
        block = Block(
            index=stream.next_block,
            scene_block=stream.scene_block,
            take=stream.take,
            attempt=FIRST_ATTEMPT,
            latents=latents,
            frames=frames,
            started=tuple(filter(None, stream.unshown)),
            completed=tuple(filter(None, stream.reached)),
            timings=timings,
        )
        self._finish(stream, latents, decoder, plan)
        return block

    @torch.inference_mode()
    def commit(self, stream: Stream, timings: StageTimings | None = None) -> None:
        """Run the last block's clean pass, if it is still to be run. `step` does so itself where it is needed.

        Its time is told with the next block.
        """
        plan, stream.uncommitted = stream.uncommitted, None
        if plan is None:
            return
        with (timings or stream.between).measure("clean"):
            self.parts.rebuild(stream.cache, plan, frames=stream.scene_frames, text=stream.text)

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
        self, journal: Journal, latents: LatentSource, block: int, *, snapshot: Snapshot | None = None
    ) -> Stream:
        """A stream at the end of block `block` - 1, from which `step` goes on as the journal's own did, bit for bit.

        Without a snapshot by clean-pass replay, which reads some of the blocks before `block` from `latents`. What
        the journal holds from `block` on takes effect as it did; all blocks of an opening are read. Raises
        RestoreError where things do not belong together or latents are missing.
        """
        check_seed(journal.seed)
        if journal.model != self.preset.name:
            message = f"the journal is of model {journal.model!r}, this engine serves {self.preset.name!r}"
            raise RestoreError(message, field="model")
        stream = self._new_stream(journal)
        given = Timeline.of(journal.events).given
        stream.opening = stored_opening(self.parts, latents, blocks=given).blocks
        stand_at(self.parts, stream, latents=latents, block=block, snapshot=snapshot)
        return stream

    def rewind(self, stream: Stream, latents: LatentSource, block: int, *, same_noise: bool = False) -> None:
        """Go back to the end of block `block` - 1 and begin a new take there, with noise of its own or the same."""
        self._check_open(stream)
        if not 0 <= block <= stream.next_block:
            raise RestoreError(f"block must be 0..{stream.next_block} to rewind to, not {block}", field="block")
        takes = [event.take for event in stream.log if isinstance(event, TakeEvent)]
        take = stream.take if same_noise else max(takes, default=0) + 1
        stream.log.append(TakeEvent(block=block, take=take))
        stand_at(self.parts, stream, latents=latents, block=block)

    def close(self, stream: Stream) -> None:
        """End a stream; its memory is free when the caller lets go of it."""
        stream.closed = True
        stream.history.clear()

    def _new_stream(self, journal: Journal) -> Stream:
        parts = self.parts
        first = Timeline.of(journal.events).first
        embedding = embedding_at(parts.encode, [first], block=0)
        return Stream(
            model=journal.model,
            seed=journal.seed,
            fingerprint=parts.fingerprint,
            cache=parts.passes.new_cache(),
            window=WindowState(parts.spec),
            text=parts.embed_text(embedding).clone(),
            embedding=embedding,
            decoder=parts.decoder.start(),
            history=parts.new_history(),
            log=list(journal.events),
            events=[first],
        )

    def _take_effect(self, stream: Stream, timings: StageTimings) -> None:
        """Let everything that is due at the next block take effect."""
        blend = stream.blending
        if blend is not None and blend.reached == stream.next_block:
            self._reach(stream, blend, timings)
        while stream.future and stream.future[0].block <= stream.next_block:
            event = stream.future.popleft()
            stream.log.append(event)
            if isinstance(event, TakeEvent):
                stream.take = event.take
                continue
            assert isinstance(event, PromptEvent), "an opening has taken effect when its stream begins"
            stream.events.append(event)
            stream.unshown.append(event.event_id)
            stream.blending = event
            if event.reached == event.block:
                self._reach(stream, event, timings)
        self.commit(stream, timings)
        self._set_text(stream, timings)

    def _reach(self, stream: Stream, event: PromptEvent, timings: StageTimings) -> None:
        """The next block is the first to be made under the whole new prompt."""
        stream.blending = None
        self._change_past(stream, event, timings)
        stream.reached.append(event.event_id)

    def _change_past(self, stream: Stream, event: PromptEvent, timings: StageTimings) -> None:
        """What the event's mode does to the window; the clean pass before it runs only if something of it is kept."""
        if event.mode == "keep":
            self.commit(stream, timings)
        stream.window, plan = rebuild(stream.window, event.mode, sink=event.sink)
        if event.mode == "cut":
            stream.scene_start, stream.decoder = stream.next_block, self.parts.decoder.start()
            stream.history.clear()
            stream.uncommitted = None
        if plan is None:
            return
        # The rebuild writes the last block's keys and values itself.
        stream.uncommitted = None
        self._set_text(stream, timings)
        with timings.measure("recache"):
            self.parts.rebuild(stream.cache, plan, frames=stream.scene_frames, text=stream.text)

    def _set_text(self, stream: Stream, timings: StageTimings) -> None:
        with timings.measure("text"):
            put_text(self.parts, stream, events=stream.events, block=stream.next_block)

    def _plan_block(self, stream: Stream) -> PassPlan:
        try:
            return stream.window.plan_block()
        except WindowError as error:
            raise PositionLimitError(str(error), field=error.field) from error

    def _denoise(self, stream: Stream, plan: PassPlan, interrupted: Interrupted) -> Tensor | None:
        parts = self.parts
        context = parts.passes.prepare(stream.cache, plan, text=stream.text)
        block, take = stream.next_block, stream.take

        def noise(step: int) -> Tensor:
            key = NoiseKey(seed=stream.seed, take=take, block=block, attempt=FIRST_ATTEMPT, step=step)
            return draw_noise(key, (1, *parts.block_shape)).to(parts.device, parts.dtype)

        def predict(noisy: Tensor, step: int) -> Tensor:
            sigma = parts.schedule.sigmas[step]
            output = parts.passes.transformer(
                parts.network_input(noisy, sigma), time=parts.times[step], context=context
            )
            return to_x0(parts.prediction, output, noisy=noisy, sigma=sigma, data_std=parts.data_std)

        x0 = denoise_block(
            predict, noise(0), parts.schedule, renoise=lambda step: noise(step + 1), interrupted=interrupted
        )
        return None if x0 is None else x0[0].to(parts.latent_dtype)

    def _decode(self, latents: Tensor, state: DecoderState) -> tuple[RGB24, DecoderState]:
        pixels = []
        for latent in latents:
            made, state = self.parts.decoder.decode(latent.float(), state)
            pixels.append(made)
        return to_rgb24(torch.cat(pixels)), state

    def _finish(self, stream: Stream, latents: Tensor, decoder: DecoderState, plan: PassPlan) -> None:
        stream.decoder = decoder
        stream.history.append(latents)
        stream.window = stream.window.advance()
        stream.uncommitted = plan
        stream.next_block += 1
        stream.unshown.clear()
        stream.reached.clear()

    def _check_open(self, stream: Stream) -> None:
        assert not stream.closed, "the stream is closed"
