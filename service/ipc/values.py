"""The values that messages between the two processes are made of, and the base of every message.

Knows nothing of sockets, tensors or the web. Invariant: every value is frozen, and a field that is not here is an
error when it is read.
"""

from typing import Literal

import msgspec

Format = Literal["jpeg", "webp", "png", "raw", "m4s"]
Pacing = Literal["realtime", "none"]
Mode = Literal["recache", "flush", "cut", "keep"]
Sink = Literal["keep", "refresh"]
EndReason = Literal["stopped", "completed", "drained"]
Action = Literal["pause", "resume", "quality"]
DiscardReason = Literal["prompt", "pause", "rewind"]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of every message; the class name is the tag on the wire."""


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    weight: float = 1.0


class Adapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A low-rank adapter by the name it has in the settings, and how much of it."""

    name: str
    scale: float = 1.0


class FrameSpan(msgspec.Struct, frozen=True, array_like=True):
    """Where one encoded frame lies in the payload (bytes), and when it is shown (seconds of media time)."""

    offset: int
    length: int
    pts: float


class CourseBlock(msgspec.Struct, frozen=True, array_like=True):
    """A finished block of a session's present course: the chunk it left as, and its frames of pixels."""

    sequence: int
    frames: int


class Course(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a session goes on: behind its last block, with exactly the pictures that would have come.

    The latents of block b are in the file of chunk `blocks[b].sequence`.
    """

    journal: str
    """The engine's journal of what made these blocks, a JSON text."""
    blocks: tuple[CourseBlock, ...]
    sequence: int
    """The number of the next chunk."""
    event_ids: tuple[str, ...] = ()
    """The interactions that the last block is made under."""
    waiting: tuple[str, ...] = ()
    """Events of the engine's journal, JSON texts, that take effect again at their blocks: those were taken back."""


class StageMilliseconds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: float = 0.0
    recache: float = 0.0
    denoise: float = 0.0
    clean: float = 0.0
    decode: float = 0.0
    encode: float = 0.0


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the memory goes, in bytes: `max_streams` of `stream_bytes` fit beside the model into the budget.

    `stream_bytes` is the sum of a stream's cache, text, decoder and history.
    """

    budget_bytes: int
    weights_bytes: int
    workspace_bytes: int
    cache_bytes: int
    text_bytes: int
    decoder_bytes: int
    history_bytes: int
    stream_bytes: int
    text_encoder_bytes: int = 0
    """On the device; with `weights_bytes` and `codec_bytes` it is the model."""
    codec_bytes: int = 0
    """Of the decoder's weights."""
    host_budget_bytes: int = 0
    """Host memory for copies of streams, `snapshot_bytes` each."""
    snapshot_bytes: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only the worker knows about the model it has loaded."""

    preset: str
    title: str
    licence: str
    licence_url: str = ""
    commercial_use: bool = True
    """Whether the licence allows it."""
    licence_accept_required: bool = False
    """Whether whoever fetched the weights had to agree to it."""
    width: int
    height: int
    fps: int
    block_frames: int
    """Latent frames of a block."""
    frames_per_block: int
    first_block_frames: int
    """Pixel frames of the first block of a scene: fewer where the decoder gives one for its first latent."""
    fingerprint: str
    device: str
    device_uuid: str | None = None
    """The GPU's own name, as its management library says it; None for other devices."""
    dtype: str
    attention: str
    """The kernel of attention."""
    parameters: int
    cache_bytes_per_stream: int
    max_streams: int
    """Sessions that the device has memory for at once; where there are more, they take turns."""
    plan: MemoryPlan
    prompt_characters: int
    threads: int
    memory_bytes: int
    """Resident memory of the worker after warm-up."""
    warmup_ms: float
    block_ms: float
    """One block made in the warm-up, without the costs of a first call."""
    suggested_prompts: tuple[str, ...]
    adapters: tuple[str, ...] = ()
    """Names that sessions may ask for."""
    pid: int
