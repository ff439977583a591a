"""What a worker process is told when it starts, as one line of JSON on its standard input, and how it ends.

Knows nothing of where the values come from (`service/config.py` and `service/launch.py` do), so that the worker
needs neither the environment nor the settings library. Unknown and missing fields are errors.
"""

from enum import IntEnum
from pathlib import Path
from typing import Literal

import msgspec

from service.channel import ChannelLimits, Endpoints


class ExitCode(IntEnum):
    DRAINED = 0
    FAILED = 1
    """Something broke that the worker cannot go on after."""
    REFUSED = 2
    """The settings, the preset or its files cannot be used: another start would end in the same way."""
    ORPHANED = 3
    """The parent process is gone."""
    CHANNEL_FAILED = 4
    """The API process does not read, or speaks something else."""


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the engine is loaded and placed; the settings of the service under the same names."""

    random_weights: bool = False
    device: str = "cpu"
    attention: str = "auto"
    decoder: str | None = None
    quantize: str = "none"
    adapters: tuple[str, ...] = ()
    preset_dir: str | None = None
    model_dir: str | None = None
    fused: str = "auto"
    compile: str = "auto"
    channels_last: str = "auto"
    graphs: str = "auto"
    decode_stream: str = "auto"
    tuning_dir: str | None = None
    steps: tuple[int, ...] = ()
    window_frames: int | None = None
    reuse_last_pass: bool = False
    kv_cache: str = "full"
    short_heads: int = 0
    short_window: int | None = None
    stagger: float = 0.0


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    folder: str
    """Of the channel's sockets."""
    channel: ChannelLimits
    generator: str
    """`module:function` that loads the engine."""
    preset: str
    loading: LoadSettings
    threads: int
    encoder_threads: int
    memory_budget_bytes: int | None
    store_dir: str
    """Where the latents of sessions are kept (`service/latent_files.py`)."""
    max_sessions: int
    """More than the device has memory for take turns on it."""
    max_jobs: int
    """Sessions in the background, beside those."""
    copy_bytes: int | None
    """Host memory for copies of streams; None: what the memory plan leaves for them."""
    turn_blocks: int
    """Most blocks in a row that an unpaced session makes where sessions take turns on the device."""
    late_bytes: int
    """Latents of one session that may wait in memory for a disk that takes none."""
    guard: bool
    """Hold every block against what black, saturated or frozen pictures look like."""
    interaction_queue: int
    session_credits: int
    lead_blocks: float
    playback_patience: float
    unseen_margin: float
    """Seconds of media behind the playhead that are on their way to the screen, and not taken back."""
    interrupts_per_block: int
    """Times that one block may be given up for a newer prompt; 0 turns it off."""
    heartbeat_interval: float
    poll_interval: float
    """Seconds that an idle loop sleeps at most before it looks round."""
    media_timeout: float
    """Seconds that the loop may wait for an encoder thread."""
    drain_timeout: float
    mark_frames: bool = False
    """Draw each frame's number into what is sent of it, for tests (`service/media/marks.py`)."""
    log_format: Literal["text", "json"] = "text"
    log_level: str = "info"
    telemetry_endpoint: str | None = None
    """Where traces are sent; None: nowhere."""
    telemetry_share: float = 1.0

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(Path(self.folder))

    @property
    def encoder_queue(self) -> int:
        """Blocks that may wait for an encoder thread: all that credits allow."""
        return (self.max_sessions + self.max_jobs) * self.session_credits


def settings_to_json(settings: WorkerSettings) -> bytes:
    """One line."""
    return msgspec.json.encode(settings) + b"\n"


def settings_from_json(line: bytes) -> WorkerSettings:
    """Raises msgspec.DecodeError (a ValueError) that names what is wrong."""
    return msgspec.json.decode(line, type=WorkerSettings)
