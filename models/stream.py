"""The state of one stream, the block it yields, and the copy that brings it back: values that the generator works on.

Weights are shared and read-only; everything that belongs to one stream is here. A stream remembers the latents of its
window and no more: whoever wants to rewind or restore keeps the rest. Knows no model.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from cache.kv import KVCache
from cache.snapshot import CacheSnapshot
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, WindowState
from models.errors import RestoreError
from models.journal import AdapterChoice, Event, Journal, PromptEvent
from models.vae import RGB24, DecoderState, frames_sha256

Stage = Literal["text", "recache", "denoise", "clean", "decode"]


@dataclass(slots=True)
class StageTimings:
    """Milliseconds that each stage of one block took."""

    text: float = 0.0
    recache: float = 0.0
    denoise: float = 0.0
    clean: float = 0.0
    decode: float = 0.0
    exact: bool = False
    """Wait for the device at both ends of each stage. Else a stage ends when its work is given to the device, and the
    first one that needs a result waits for those before it: quicker, and right for the block as a whole."""

    def measure(self, stage: Stage) -> "StageTimer":
        return StageTimer(self, stage)


class StageTimer:
    """Adds the time spent inside it to one stage."""

    def __init__(self, timings: StageTimings, stage: Stage) -> None:
        self._timings, self._stage = timings, stage
        self._begun = 0.0

    def __enter__(self) -> Self:
        self._wait()
        self._begun = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait()
        spent = 1000 * (perf_counter() - self._begun)
        setattr(self._timings, self._stage, getattr(self._timings, self._stage) + spent)

    def _wait(self) -> None:
        if self._timings.exact and torch.cuda.is_available():
            torch.cuda.synchronize()


class LatentSource(Protocol):
    """Finished blocks by number, as `Block.kept` gives them: a list, a dictionary, or a store that reads from disk."""

    def __getitem__(self, block: int, /) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one step made."""

    index: int
    """Number of the block in the stream."""
    scene_block: int
    """Number of the block since the last cut."""
    take: int
    attempt: int
    latents: Tensor
    """[F, C, H, W] in the dtype they are stored in, which is what everything after was computed from."""
    frames: RGB24
    context: Tensor | None = None
    """What the last pass was given, likewise, where its keys and values are the block's; None after a clean pass."""
    started: tuple[str, ...]
    """Ids of the prompt changes whose first block this is."""
    completed: tuple[str, ...]
    """Ids of the prompt changes whose target this block is the first to be made under in full."""
    timings: StageTimings

    @property
    def kept(self) -> Tensor:
        """What has to be kept of it for a restore: the latents, and behind them the context where there is one."""
        return self.latents if self.context is None else torch.cat((self.latents, self.context))

    @property
    def frames_sha256(self) -> str:
        return frames_sha256(self.frames)


@dataclass(frozen=True, slots=True)
class PromptChange:
    """An accepted change: the block it takes effect at, and the changes it replaced before a block showed them."""

    block: int
    superseded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An exact copy of a stream at the end of block `block` - 1, in host memory."""

    block: int
    seed: int
    events: tuple[Event, ...]
    """What had taken effect, without what rewinds took back."""
    cache: CacheSnapshot
    decoder: DecoderState
    history: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        tensors = (*self.decoder.memory, *self.history)
        return self.cache.bytes + sum(tensor.nbytes for tensor in tensors)


@dataclass(slots=True, kw_only=True)
class Stream:
    """One stream. Changed only by the generator."""

    model: str
    seed: int
    fingerprint: str
    cache: KVCache
    window: WindowState
    text: TextKeysValues
    decoder: DecoderState
    history: deque[Tensor]
    """Latents of the scene's last blocks, as many as a window may need."""
    log: list[Event]
    """The journal: all that took effect, rewinds included."""
    events: list[PromptEvent]
    """The prompts of it that made the present take."""
    future: deque[Event] = field(default_factory=deque)
    """Events of a restored journal, and changes asked for, that take effect at blocks to come."""
    opening: tuple[Tensor, ...] = ()
    """Latents of the blocks it was given, [F, C, H, W] each, in host memory."""
    embedding: Tensor | None = None
    """The text that `text` was computed from."""
    adapters: tuple[AdapterChoice, ...] = ()
    """The adapters in the weights that `text` was computed with."""
    blending: PromptEvent | None = None
    """The transition under way; what its mode does to the past is still to be done."""
    unshown: list[str] = field(default_factory=list)
    """Changes that took effect at the next block, which is not made yet (it may have been interrupted)."""
    reached: list[str] = field(default_factory=list)
    """Of those that took effect, now or earlier, the ones whose target the next block is the first to show."""
    between: StageTimings = field(default_factory=StageTimings)
    """Time spent for the next block before its step: the last block's clean pass, or a step that was interrupted."""
    uncommitted: PassPlan | None = None
    """The last block's clean pass, where it is still to be run."""
    next_block: int = 0
    scene_start: int = 0
    take: int = 0
    attempt: int = 0
    """At the next block, where the journal says so."""
    closed: bool = False

    @property
    def journal(self) -> Journal:
        """What has taken effect so far, as a value."""
        return Journal(model=self.model, seed=self.seed, fingerprint=self.fingerprint, events=tuple(self.log))

    @property
    def agenda(self) -> Journal:
        """The journal, and behind it what is to take effect: all that this stream can be made from again."""
        return replace(self.journal, events=(*self.log, *self.future))

    @property
    def scene_block(self) -> int:
        return self.next_block - self.scene_start

    @property
    def given(self) -> Tensor | None:
        """The next block's latents, where it was given. A cut before the opening's end gives up the rest of it."""
        if self.scene_start > 0 or self.next_block >= len(self.opening):
            return None
        return self.opening[self.next_block]

    def scene_frames(self, first: int, count: int) -> Tensor:
        """Latent frames first..first+count-1 of the scene, [1, count, C, H, W], from the remembered ones."""
        held = torch.cat(tuple(self.history))
        offset = first - (self.window.end - held.shape[0])
        assert 0 <= offset <= held.shape[0] - count, (first, count, self.window.end, held.shape)
        return held[offset : offset + count][None]


class BlockRecord(NamedTuple):
    """What was kept of a block: its latents [F, C, H, W], and the context of `Block` where there is one."""

    latents: Tensor
    context: Tensor | None


def read_block(latents: LatentSource, block: int, *, shape: tuple[int, ...]) -> BlockRecord:
    """One block's latents. Raises RestoreError naming the block where they are missing or misshapen."""
    try:
        found = latents[block]
    except (KeyError, IndexError):
        raise RestoreError(f"latents of block {block} are needed and missing", field="latents") from None
    frames, *rest = shape
    if tuple(found.shape) == (2 * frames, *rest):
        return BlockRecord(found[:frames], found[frames:])
    if tuple(found.shape) != shape:
        message = f"latents of block {block} must be of shape {shape}, not {tuple(found.shape)}"
        raise RestoreError(message, field="latents")
    return BlockRecord(found, None)


Interrupted = Callable[[], bool]


def never() -> bool:
    """The answer of who does not interrupt."""
    return False
