"""Every bound, timeout and default of the service, with its name, type and meaning.

It knows nothing of what the settings are used for. Invariant: a value comes from, in this order, a
flag, the environment (`LONGTAKE_...`), the settings file, the default here; a name that is not here
is an error wherever it comes from, and no other file reads the environment.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from service.errors import ConfigError

ENV_PREFIX = "LONGTAKE_"
CONFIG_FILE_VARIABLE = "LONGTAKE_CONFIG"
# Variables with our prefix that are not settings of the service.
_OTHER_VARIABLES = frozenset({CONFIG_FILE_VARIABLE, "LONGTAKE_REFERENCE"})


class ServiceConfig(BaseModel):
    """The settings. Times are in seconds, sizes in bytes. `ServiceConfig()` is the defaults, whatever the
    environment holds; `load_config` looks at flags, environment and file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_origins: tuple[str, ...] = Field(
        (),
        description="Origins of pages, besides the service's own, that may open the WebSocket"
        " (`https://example.org`, separated by commas in the environment).",
    )
    missing_origin: Literal["loopback", "allow"] = Field(
        "loopback",
        description="Who may open the WebSocket without an Origin, as programs do:"
        " those on this machine (`loopback`), or everybody (`allow`).",
    )

    preset: str = Field("demo", min_length=1, description="The model the worker loads.")
    preset_dir: Path | None = Field(
        None, description="Folder with further presets, a TOML file each (none: only those that come with the service)."
    )
    model_dir: Path | None = Field(
        None,
        description="Where the files of presets lie and are downloaded to (none: `longtake/models` in the user's"
        " folder for data).",
    )
    random_weights: bool = Field(False, description="Run the preset without its files, for load tests.")
    device: str = Field(
        "auto",
        min_length=1,
        description="Where the engine runs: cpu, cuda, cuda:N, or auto, a CUDA device where there is one.",
    )
    attention: Literal["auto", "cudnn", "flash", "efficient", "plain", "xformers", "reference"] = Field(
        "auto", description="Kernel of attention; auto leaves it to torch."
    )
    decoder: Literal["linear", "refined", "tiny", "full"] | None = Field(
        None, description="Another decoder than the preset's own: tiny, or full, which is slower and finer."
    )
    quantize: Literal["none", "int8", "fp8"] = Field(
        "none", description="Fewer bits for the linear layers of the blocks; fp8 needs a recent GPU."
    )
    adapters: tuple[str, ...] = Field(
        (),
        description="Low-rank adapters that sessions may ask for, NAME=PATH or NAME=PATH:SCALE each (separated by"
        " commas in the environment); where a session does not say, all of them are merged in, each at its scale.",
    )
    worker_threads: int = Field(1, ge=1, le=256, description="Threads of the engine for one operation.")
    encoder_threads: int = Field(1, ge=1, le=64, description="Threads that encode frames.")
    lead_blocks: int = Field(1, ge=1, le=16, description="Blocks a live session may be made ahead of its clock.")

    max_sessions: int = Field(
        4, ge=1, le=4096, description="Sessions at once; more than the device has memory for take turns on it."
    )
    turn_blocks: int = Field(
        8, ge=1, le=64, description="Most blocks in a row of an unpaced session where sessions take turns."
    )
    copy_bytes: int | None = Field(
        None,
        ge=0,
        description="Host memory for copies of streams, which bring a session back at once (none: what the memory plan"
        " leaves for them). Without a copy it is made from its latents again.",
    )
    guard: bool = Field(True, description="Make a block again that comes out black, saturated or frozen.")
    memory_budget_bytes: int | None = Field(
        None,
        ge=1,
        description="Memory the worker may use for model and streams (none: the device's, or 60 % of what the"
        " host has free).",
    )
    waiting_room: int = Field(64, ge=0, le=65536, description="Sessions that may wait for a place; 0 turns it off.")
    waiting_timeout: float = Field(600.0, gt=0, description="Longest wait for a place.")
    lease_seconds: float = Field(
        60.0,
        gt=0,
        description="A session keeps its place this long after the last sign of life of its connection: a message"
        " that came, or one that its socket took.",
    )
    resume_grace: float = Field(
        60.0,
        ge=0,
        description="Time in which a session without its director can be gone on with (`session.resume`); after it the"
        " session ends. 0: it ends at once.",
    )
    replay_max_bytes: int = Field(
        32 * 1024**2,
        ge=0,
        description="Media that one session keeps to send again after a lost connection, for as long as grace, lead and"
        " pings need; the newest chunks are kept whatever they weigh.",
    )
    resume_token_seconds: float = Field(
        3600.0, gt=0, description="How long a token is good for a session that has ended, or for a fork."
    )
    resume_tokens: int = Field(4096, ge=1, le=1048576, description="Tokens of such sessions that are kept.")
    restart_patience: float = Field(
        180.0, gt=0, description="Longest time that a session waits for a lost worker to be replaced."
    )
    retry_after: float = Field(5.0, gt=0, description="What a client that finds no place is told to wait.")
    max_connections: int = Field(256, ge=1, le=65536, description="WebSocket connections at once.")
    max_seconds: float = Field(3600.0, gt=0, description="Longest video of one session, in seconds of media.")
    max_message_bytes: int = Field(
        65536, ge=1024, description="Longest message from a client; a longer one closes with 1009."
    )
    max_picture_bytes: int = Field(
        8 * 1024**2, ge=1, le=32 * 1024**2, description="Largest picture that a session may start from, as a file."
    )
    max_pictures: int = Field(32, ge=1, le=65536, description="Pictures that are kept or on their way, at once.")
    picture_seconds: float = Field(
        120.0,
        gt=0,
        description="How long a picture is kept for the `session.start` that names it, and may take to arrive.",
    )
    max_json_depth: int = Field(8, ge=3, le=64, description="Deepest nesting of a message.")
    max_prompt_chars: int = Field(2000, ge=1, le=2000, description="Longest prompt, in characters.")
    interaction_queue: int = Field(
        16, ge=1, le=1024, description="Interactions of a session that may wait for their block."
    )
    remembered_events: int = Field(
        256,
        ge=1,
        le=65536,
        description="Event ids a session remembers, to tell a retry from a conflict.",
    )
    message_rate: float = Field(50.0, gt=0, description="Messages a connection may send per second, on average.")
    message_burst: int = Field(100, ge=1, description="Messages a connection may send at once.")
    session_credits: int = Field(
        2, ge=1, le=64, description="Chunks of a session between the worker and the client's socket."
    )
    slow_consumer_timeout: float = Field(
        5.0, gt=0, description="Longest wait of a chunk for a client that asked for `disconnect`."
    )
    stats_interval: float = Field(1.0, gt=0, description="Time between two `session.stats`.")
    playback_patience: float = Field(
        2.0, gt=0, description="How far a playhead may go on past its last report before pacing waits for the next."
    )
    unseen_margin: float = Field(
        0.15,
        ge=0,
        le=5,
        description="Media behind the playhead that counts as seen, for it is on its way, when unseen blocks are taken"
        " back.",
    )
    control_queue: int = Field(64, ge=8, le=4096, description="Control messages that may wait for a client's socket.")

    request_timeout: float = Field(10.0, gt=0, description="Wait for the head of an HTTP request.")
    start_timeout: float = Field(10.0, gt=0, description="Wait for `session.start` after connecting.")
    idle_timeout: float = Field(
        300.0,
        gt=0,
        description="Wait in a session for a sign of life: a message from the client or a chunk it took.",
    )
    send_timeout: float = Field(30.0, gt=0, description="Wait for a client to take one message.")
    ping_interval: float = Field(20.0, gt=0, description="Time between WebSocket pings.")
    ping_timeout: float = Field(20.0, gt=0, description="Wait for a WebSocket pong.")
    answer_timeout: float = Field(
        30.0, gt=0, description="Wait for the worker to start a session, or to end one that was stopped."
    )
    close_timeout: float = Field(
        5.0, gt=0, description="Wait for a client to take the last messages and close its side."
    )
    worker_start_timeout: float = Field(120.0, gt=0, description="Wait for the worker to load and warm up.")
    heartbeat_interval: float = Field(1.0, gt=0, description="Time between heartbeats of the worker.")
    heartbeat_timeout: float = Field(5.0, gt=0, description="Silence after which the worker counts as dead.")
    block_deadline: float = Field(
        30.0, gt=0, description="Longest time for one block before the worker counts as hung."
    )
    drain_grace: float = Field(5.0, ge=0, description="Time sessions may go on after `session.draining`.")
    drain_timeout: float = Field(30.0, gt=0, description="Wait for sessions to end at shutdown.")

    store_dir: Path | None = Field(
        None,
        description="Folder of the store: sessions in SQL, their latents in files (none: `longtake` in the user's"
        " folder for data). One server at a time uses it.",
    )
    retain_hours: float = Field(
        72.0, ge=0, description="How long an ended session is kept: record, journal and latents."
    )
    store_max_bytes: int = Field(
        20 * 1024**3,
        ge=0,
        description="Room for latents; where they need more, those that ended first are deleted early.",
    )
    store_sweep_interval: float = Field(
        300.0, gt=0, description="Time between two looks at what is kept no longer; one is made at the start."
    )
    recording_timeout: float = Field(
        600.0, gt=0, description="Wait for the recording of a session; they are made one after the other."
    )
    store_busy_timeout: float = Field(5.0, gt=0, description="Wait for another process that uses the database.")
    store_queue: int = Field(256, ge=1, le=65536, description="Writes that may wait for the database.")

    interrupts_per_block: int = Field(
        2, ge=0, le=16, description="Times one block may be given up for a newer prompt; 0 turns it off."
    )
    worker_poll_interval: float = Field(
        0.1, gt=0, le=1, description="Time between two looks at the worker's process, and of an idle worker round."
    )
    worker_stop_timeout: float = Field(
        5.0, gt=0, description="Wait for a worker that is told to end, or is lost, before it is killed."
    )
    worker_restarts: int = Field(3, ge=0, le=100, description="Restarts of the worker in one window; then the end.")
    worker_restart_window: float = Field(600.0, gt=0, description="The window in which restarts are counted.")
    worker_restart_delay: float = Field(
        1.0, gt=0, description="Wait before the first restart in a window; doubled for each further one."
    )
    worker_restart_delay_max: float = Field(60.0, gt=0, description="Longest wait before a restart.")
    channel_messages: int = Field(
        1024, ge=16, le=65536, description="Messages that may wait in each direction between API and worker."
    )
    channel_message_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="Longest message between API and worker: a raw chunk has to fit."
    )
    channel_send_timeout: float = Field(
        5.0, gt=0, description="Wait for the other process to read before it counts as stuck."
    )
    channel_linger: float = Field(1.0, ge=0, description="Wait of an ending worker for its last messages to leave.")

    @field_validator("allowed_origins", "adapters", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value


def load_config(
    flags: Mapping[str, object] | None = None,
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> ServiceConfig:
    """The settings from flags, environment, file and defaults, in this order.

    Args:
        flags: settings given by name; those that are None were not given.
        file: a TOML file; without one, the file that `LONGTAKE_CONFIG` names, if any.
        environment: the process's own by default.

    Raises:
        ConfigError: a name is unknown, a value is wrong, or the file cannot be read.
    """
    variables = os.environ if environment is None else environment
    if file is None and variables.get(CONFIG_FILE_VARIABLE):
        file = Path(variables[CONFIG_FILE_VARIABLE])
    from_file = _read_file(file) if file else {}
    _refuse_unknown(from_file, f"file {file}")
    from_environment = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in variables.items()
        if name.startswith(ENV_PREFIX) and name not in _OTHER_VARIABLES
    }
    _refuse_unknown(from_environment, f"environment ({ENV_PREFIX}...)")
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown(from_flags, "flags")
    try:
        return ServiceConfig.model_validate({**from_file, **from_environment, **from_flags})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {name} is {first['input']!r}: {first['msg']}") from None


def store_folder(config: ServiceConfig, *, environment: Mapping[str, str] | None = None) -> Path:
    """Where the store lies: where the setting says, else in the user's folder for data."""
    return _data_folder(environment) if config.store_dir is None else config.store_dir


def model_folder(config: ServiceConfig, *, environment: Mapping[str, str] | None = None) -> Path:
    """Where the files of presets lie: where the setting says, else in the user's folder for data."""
    return _data_folder(environment) / "models" if config.model_dir is None else config.model_dir


def _data_folder(environment: Mapping[str, str] | None) -> Path:
    variables = os.environ if environment is None else environment
    data = variables.get("XDG_DATA_HOME", "")
    # A relative path there counts as none, as the directory specification says.
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "longtake"


def _read_file(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"settings file {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {file} is not TOML: {error}") from error


def _refuse_unknown(names: Iterable[str], source: str) -> None:
    unknown = sorted(set(names) - set(ServiceConfig.model_fields))
    if unknown:
        known = ", ".join(ServiceConfig.model_fields)
        raise ConfigError(f"unknown setting {unknown[0]} in {source}; expected one of {known}")
