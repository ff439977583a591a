"""What the worker asks of an engine: the seam between the loop and `models.generator`, which tests fill with a fake.

Types only. Knows nothing of sessions. A stream is whatever `start` or `restore` gave: the worker hands it back and
reads its journal, its agenda (the journal and what is to come), its opening and the number of its next block, nothing
else, hence `Any`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from models.journal import AdapterChoice, Journal, WeightedPrompt
from models.load import LoadOptions
from models.stream import LatentSource
from service.ipc import Mode, Sink

Frames = npt.NDArray[np.uint8]
"""RGB24 pixels, [frames, height, width, 3]."""


class Timings(Protocol):
    """Milliseconds of the stages of one block."""

    @property
    def text(self) -> float: ...
    @property
    def recache(self) -> float: ...
    @property
    def denoise(self) -> float: ...
    @property
    def clean(self) -> float: ...
    @property
    def decode(self) -> float: ...


class EngineBlock(Protocol):
    """One finished block. `started`: the events whose first block it is; `completed`: those whose target it reaches."""

    @property
    def index(self) -> int: ...
    @property
    def take(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def latents(self) -> Tensor: ...
    @property
    def kept(self) -> Tensor:
        """What is stored of it, for a restore."""
        ...

    @property
    def frames(self) -> Frames: ...
    @property
    def frames_sha256(self) -> str: ...
    @property
    def started(self) -> Sequence[str]: ...
    @property
    def completed(self) -> Sequence[str]: ...
    @property
    def timings(self) -> Timings: ...


class Change(Protocol):
    @property
    def superseded(self) -> Sequence[str]: ...


class PromptReading(Protocol):
    """How the text encoder reads a prompt."""

    @property
    def kept_characters(self) -> int: ...
    @property
    def unknown_words(self) -> Sequence[str]: ...


class Copy(Protocol):
    """An exact copy of a stream in host memory."""

    @property
    def bytes(self) -> int: ...


class Engine(Protocol):
    """Raises models.errors.EngineError for what it refuses; anything else it raises is fatal."""

    def read_prompt(self, text: str) -> PromptReading: ...

    def picture_opening(self, data: bytes) -> Any: ...

    def adapters_of(self, choices: Sequence[AdapterChoice] | None) -> tuple[AdapterChoice, ...]: ...

    def start(
        self,
        prompts: Sequence[WeightedPrompt],
        *,
        seed: int,
        opening: Any = None,
        adapters: Sequence[AdapterChoice] | None = None,
    ) -> Any: ...

    def set_prompt(
        self,
        stream: Any,
        prompts: Sequence[WeightedPrompt],
        *,
        mode: Mode,
        sink: Sink,
        transition_chunks: int,
        event_id: str,
        adapters: Sequence[AdapterChoice] | None = None,
    ) -> Change: ...

    def step(
        self,
        stream: Any,
        interrupted: Callable[[], bool] = ...,
        *,
        check: Callable[[Tensor, Frames], str | None] = ...,
    ) -> EngineBlock | None: ...

    def commit(self, stream: Any) -> None: ...

    def save(self, stream: Any) -> Copy: ...

    def restore(
        self,
        journal: Journal,
        latents: LatentSource,
        block: int,
        *,
        snapshot: Any = None,
        opening: LatentSource | None = None,
    ) -> Any: ...

    def rewind(
        self, stream: Any, latents: LatentSource, block: int, *, same_noise: bool = ..., take: int | None = ...
    ) -> int: ...

    def take_back(self, stream: Any, latents: LatentSource, block: int, *, snapshot: Any = None) -> None: ...

    def close(self, stream: Any) -> None: ...


class Licence(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def commercial(self) -> bool: ...
    @property
    def accept_required(self) -> bool: ...


class PresetFacts(Protocol):
    """The named model, as `models.presets` describes it."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def licence(self) -> Licence: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> int: ...
    @property
    def block_frames(self) -> int: ...
    @property
    def suggested_prompts(self) -> Sequence[str]: ...


class EngineFacts(Protocol):
    @property
    def adapters(self) -> Sequence[str]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def attention(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def cache_bytes_per_stream(self) -> int: ...


class MemoryFigures(Protocol):
    """Bytes, as `models.memory` reckons them."""

    @property
    def budget_bytes(self) -> int: ...
    @property
    def weights_bytes(self) -> int: ...
    @property
    def text_encoder_bytes(self) -> int: ...
    @property
    def codec_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def cache_bytes(self) -> int: ...
    @property
    def text_bytes(self) -> int: ...
    @property
    def decoder_bytes(self) -> int: ...
    @property
    def history_bytes(self) -> int: ...
    @property
    def stream_bytes(self) -> int: ...
    @property
    def host_budget_bytes(self) -> int: ...
    @property
    def snapshot_bytes(self) -> int: ...
    @property
    def max_streams(self) -> int: ...


class LoadedEngine(Engine, Protocol):
    """What a loader returns: an engine that also knows the facts about itself."""

    @property
    def preset(self) -> PresetFacts: ...

    def facts(self) -> EngineFacts: ...

    def plan_memory(self, stream: Any, *, budget_bytes: int | None) -> MemoryFigures: ...


class Loader(Protocol):
    def __call__(self, preset: str, options: LoadOptions) -> LoadedEngine: ...
