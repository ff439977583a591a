"""The options of every sub-command, as frozen dataclasses that typer reads.

Knows typer; nothing of engines, sockets or files. Invariant: `generate` and `stream` take the same options for the
same things, because both extend TakeOptions.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

Options = TypeVar("Options")
OPENING_NOTE = (
    "note: the models were not trained to go on from a picture they did not make; what comes next may drift off"
)
FAST_PATHS = (
    *("fused", "compile", "channels_last", "graphs", "decode_stream", "tuning_dir", "steps", "window_frames"),
    *("reuse_last_pass", "kv_cache", "short_heads", "short_window", "stagger"),
)
"""Names of settings (`service/config/speed.py`), which is not read here: it would make every command start slower."""
TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
SECONDS_IN = {"ms": 0.001, "s": 1.0, "m": 60.0}


class OptionError(ValueError):
    """An option that cannot be right. `code` is stable; `field` is the option's name without dashes."""

    def __init__(self, message: str, *, code: str, field: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


@dataclass(frozen=True, slots=True)
class TimedPrompt:
    """A prompt that takes effect at the first block that begins at or after `seconds` of the video."""

    seconds: float
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOptions:
    """What is filmed, and what is kept of it: the same offline and through the service."""

    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="What the video begins with.")] = None
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="TIME PROMPT", help='A later prompt and when: --at 4s "rain". Repeat it.'),
    ] = None
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", help="Length of the video [default: 10].")] = None
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the video to this MP4 file.")] = None
    seed: Annotated[int | None, typer.Option(help="Seed of the noise [default: a random one].")] = None
    mode: Annotated[str, typer.Option(help="The past at a prompt change: recache, flush, cut, keep.")] = "recache"
    sink: Annotated[str, typer.Option(help="What a recache does with the first blocks: keep or refresh.")] = "keep"
    transition: Annotated[int, typer.Option(help="Blocks over which the old prompt fades into the new.")] = 0
    preset: Annotated[str, typer.Option(help="The model.")] = "demo"
    save_journal: Annotated[Path | None, typer.Option(help="Write the journal of the take to this file.")] = None
    sha256: Annotated[Path | None, typer.Option("--sha256", help="Write one hash of frames a chunk.")] = None
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """Settings of the service that are about the engine, as flags. No slots, so that it may be a second base."""

    decoder: Annotated[str | None, typer.Option(help="tiny or full [default: the preset's].")] = None
    quantize: Annotated[str | None, typer.Option(help="none, int8 or fp8 [default: none].")] = None
    attention: Annotated[str | None, typer.Option(help="The attention kernel [default: auto].")] = None
    adapter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH[:SCALE]", help="A low-rank adapter. Repeat it.")
    ] = None
    model_dir: Annotated[Path | None, typer.Option(help="Where files of presets lie [default: the setting].")] = None
    preset_dir: Annotated[Path | None, typer.Option(help="A folder of further presets [default: the setting].")] = None
    speed: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A fast path, such as fused=on or compile=on. Repeat it."),
    ] = None

    @property
    def settings(self) -> dict[str, object]:
        """Those that were given, by the names of the settings. Raises OptionError."""
        adapters = tuple(self.adapter) if self.adapter else None
        named = {"decoder": self.decoder, "quantize": self.quantize, "attention": self.attention, "adapters": adapters}
        folders = {"model_dir": self.model_dir, "preset_dir": self.preset_dir}
        given = {name: value for name, value in (named | folders).items() if value is not None}
        return given | dict(_fast_path(text) for text in self.speed or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions(TakeOptions, EngineFlags):
    journal: Annotated[Path | None, typer.Option(help="Replay this journal instead of prompts.")] = None
    picture: Annotated[
        Path | None,
        typer.Option(help="Begin with this PNG, JPEG or WebP, held for one block. The models were not trained for it."),
    ] = None
    clip: Annotated[
        Path | None,
        typer.Option(help="Begin with this film, as far as it fills blocks. The models were not trained for it."),
    ] = None
    threads: Annotated[int, typer.Option(help="Threads for one operation; part of what a picture depends on.")] = 1
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions(TakeOptions):
    url: Annotated[str, typer.Option(help="Where the service is.")] = "ws://127.0.0.1:8000"
    pacing: Annotated[str, typer.Option(help="realtime: as fast as it is watched; none: as it is made.")] = "realtime"
    schedule: Annotated[str, typer.Option(help="Who keeps the time of --at: the client or the server.")] = "client"
    format: Annotated[str, typer.Option(help="Format of the frames on the wire: jpeg, webp, png, raw or m4s.")] = "jpeg"
    quality: Annotated[int, typer.Option(help="Quality of jpeg and webp, 1 to 100.")] = 85
    buffer: Annotated[float, typer.Option(help="Seconds the video may be made ahead, and be taken back.")] = 0.0
    slow_consumer: Annotated[str, typer.Option(help="If this side is slow: pause, drop or disconnect.")] = "pause"
    journal: Annotated[Path | None, typer.Option(help="Take prompts, adapters and seed from this journal.")] = None
    picture: Annotated[
        Path | None,
        typer.Option(help="Begin with this PNG, JPEG or WebP, held for one block. The models were not trained for it."),
    ] = None
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:SCALE]",
            help="A low-rank adapter of the server's. Repeat it [default: the server's usual set].",
        ),
    ] = None
    resume: Annotated[str | None, typer.Option(help="Go on with this session, by its id, instead of a new one.")] = None
    show: Annotated[
        bool, typer.Option("--show", help="Show the picture in the terminal, and take prompts that are typed.")
    ] = False
    api_key: Annotated[
        str | None, typer.Option(envvar="LONGTAKE_API_KEY", help="Where the service asks for a key.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    session: Annotated[str | None, typer.Argument(help="The session, by its id.")] = None
    journal: Annotated[Path | None, typer.Option(help="Its record in a file, as /v1/sessions/ID/journal gives it.")] = (
        None
    )
    store: Annotated[Path | None, typer.Option(help="Folder of the store [default: the service's].")] = None
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the video to this MP4 file.")] = None
    cut: Annotated[str, typer.Option(help="What the file holds: final, or all that was aired.")] = "final"
    threads: Annotated[int, typer.Option(help="Threads for one operation; part of what a picture depends on.")] = 1
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu"
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """One session of a store."""

    session: Annotated[str, typer.Argument(help="The session, by its id.")]
    store: Annotated[Path | None, typer.Option(help="Folder of the store [default: the service's].")] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions(SessionOptions):
    out: Annotated[Path, typer.Option("--out", "-o", help="The MP4 file to write.")]
    cut: Annotated[str, typer.Option(help="What it holds: final, or all that was aired.")] = "final"
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu"
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    threads: Annotated[int, typer.Option(help="Threads for one operation.")] = 1


@dataclass(frozen=True, kw_only=True)
class RenderOptions(SessionOptions, EngineFlags):
    out: Annotated[Path, typer.Option("--out", "-o", help="The MP4 file to write.")]
    width: Annotated[int | None, typer.Option(help="Another width: a new take.")] = None
    height: Annotated[int | None, typer.Option(help="Another height: a new take.")] = None
    steps: Annotated[int | None, typer.Option(help="Another number of steps: a new take.")] = None
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu"
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    threads: Annotated[int, typer.Option(help="Threads for one operation.")] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionListOptions:
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 20
    store: Annotated[Path | None, typer.Option(help="Folder of the store [default: the service's].")] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    sessions: Annotated[int, typer.Option("--sessions", "-n", help="Sessions at once.")] = 8
    seconds: Annotated[float, typer.Option("--seconds", "-s", help="Seconds of clock time.")] = 30.0
    url: Annotated[str, typer.Option(help="Where the service is.")] = "ws://127.0.0.1:8000"
    pacing: Annotated[str, typer.Option(help="realtime: as fast as it is watched; none: as it is made.")] = "realtime"
    switch_every: Annotated[float | None, typer.Option(help="Seconds between two prompts of a session.")] = None
    mode: Annotated[str, typer.Option(help="The past at a prompt change: recache, flush, cut, keep.")] = "recache"
    preset: Annotated[str, typer.Option(help="The model.")] = "demo"
    api_key: Annotated[
        str | None, typer.Option(envvar="LONGTAKE_API_KEY", help="Where the service asks for a key.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSONL: the body of a POST /v1/videos a line. - is stdin.")
    ]
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the videos [default: as FILE].")] = None
    url: Annotated[str, typer.Option(help="Where the service is.")] = "ws://127.0.0.1:8000"
    api_key: Annotated[str | None, typer.Option(help="The key, where the service asks for one.")] = None
    name: Annotated[str | None, typer.Option(help="A name for the batch.")] = None
    priority: Annotated[int, typer.Option(min=-10, max=10, help="Of requests that say none; larger is sooner.")] = 0
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Send it and leave; run it again to fetch.")] = False
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel what is not made yet, and fetch the rest.")] = False
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, the last for the batch.")] = (
        False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions(EngineFlags):
    preset: Annotated[str, typer.Option(help="The model.")] = "demo"
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    blocks: Annotated[int, typer.Option(help="Blocks that are measured.")] = 60
    warmup: Annotated[int, typer.Option(help="Blocks that are made before.")] = 6
    switch_every: Annotated[int, typer.Option(help="Blocks from one prompt change to the next.")] = 10
    starts: Annotated[int, typer.Option(help="Streams whose first chunk is measured.")] = 5
    compare: Annotated[Path | None, typer.Option(metavar="OLD.json", help="An earlier run's output.")] = None
    format: Annotated[str, typer.Option(help="How frames are encoded: jpeg, webp, png, raw or m4s.")] = "jpeg"
    threads: Annotated[int, typer.Option(help="Threads for one operation; part of what a picture depends on.")] = 1
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu"
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions(EngineFlags):
    preset: Annotated[str, typer.Option(help="The model.")] = "demo"
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="detectors, adherence, deaf, switches, speed, continuity, drift, steps, windows, precision, ablation"
            " or sheets. Repeat it [default: all that apply].",
        ),
    ] = None
    clips: Annotated[int, typer.Option(help="Takes of the largest part; the others film a share of it.")] = 512
    seconds: Annotated[float, typer.Option(help="Length of the long takes.")] = 240.0
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results; a run in it is gone on with.")] = (
        Path("evaluation")
    )
    jobs: Annotated[int, typer.Option(help="Processes that film side by side.")] = 1
    threads: Annotated[int, typer.Option(help="Threads of each; part of what a picture depends on.")] = 1
    weights: Annotated[Path | None, typer.Option(help="Other weights than the preset's own.")] = None
    shift: Annotated[float | None, typer.Option(help="Another shift of the schedule than the preset's.")] = None
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu"
    plots: Annotated[bool, typer.Option(help="Draw plots beside the table.")] = True
    vbench: Annotated[
        Path | None,
        typer.Option(metavar="PROMPTS", help="Measure nothing; export clips of these prompts as VBench expects them."),
    ] = None
    samples: Annotated[int, typer.Option(help="Clips of each prompt for VBench.")] = 5
    clip_seconds: Annotated[float, typer.Option(help="Length of VBench's clips.")] = 5.0
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOptions:
    """A preset by name, and where it and its files are looked for."""

    preset: Annotated[str, typer.Argument(help="The model.")]
    model_dir: Annotated[Path | None, typer.Option(help="Where the files of presets lie [default: the setting].")] = (
        None
    )
    preset_dir: Annotated[Path | None, typer.Option(help="Folder with further presets [default: the setting].")] = None
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions(PresetOptions):
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Take files from this folder where it has them.")
    ] = None
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing: only check, and take from --from.")] = False
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Agree to the licence of the weights.")] = (
        False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions(PresetOptions):
    """What is not given is as the settings of the service have it."""

    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None
    decoder: Annotated[str | None, typer.Option(help="tiny or full.")] = None
    quantize: Annotated[str | None, typer.Option(help="none, int8 or fp8.")] = None
    attention: Annotated[str | None, typer.Option(help="The attention kernel.")] = None
    memory_budget: Annotated[int | None, typer.Option(min=1, help="Bytes for model and streams.")] = None
    quick: Annotated[bool, typer.Option("--quick", help="Do not read whole files to compute their sums.")] = False


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(EngineFlags):
    preset: Annotated[str, typer.Argument(help="The model.")] = "demo"
    random_weights: Annotated[bool, typer.Option(help="Run the preset without its files.")] = False
    threads: Annotated[int, typer.Option(help="Threads for one operation; part of what a picture depends on.")] = 1
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    blocks: Annotated[int, typer.Option(min=4, help="Blocks that are made.")] = 8
    reference: Annotated[
        Path | None, typer.Option(help="A folder of the published code's tensors [default: the checkout's].")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions(EngineFlags):
    """Settings have three sources: these flags, LONGTAKE_... in the environment, and a file."""

    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None
    preset: Annotated[str | None, typer.Option(help="The model.")] = None
    random_weights: Annotated[bool, typer.Option("--random-weights", help="Run the preset without its files.")] = False
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N [default: auto].")] = None
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None
    set: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting. Repeat it.")] = None


@dataclass(frozen=True, slots=True)
class ServeOptions(ConfigOptions):
    cluster: Annotated[
        bool, typer.Option("--cluster", help="On Ray, with as many workers as `cluster_workers` says.")
    ] = False


def _fast_path(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or name not in FAST_PATHS:
        expected = f"NAME=VALUE, the name out of {', '.join(FAST_PATHS)}"
        raise OptionError(f"expected {expected}, not {text!r}", code="field_choice", field="speed")
    return name, value


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a function of one options dataclass into one that typer can read: an option for each field."""

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: object) -> None:
            run(options(**values))

        parameters = inspect.signature(options).parameters
        spread: Any = command
        spread.__name__, spread.__doc__ = run.__name__, run.__doc__
        spread.__signature__ = inspect.Signature(list(parameters.values()))
        spread.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        return command

    return decorate


def fold_pairs(arguments: Sequence[str]) -> list[str]:
    """Make `--at 4s PROMPT` one value, as typer has no repeatable option of two. `--at "4s PROMPT"` stays."""
    folded: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        folded.append(word)
        if word == "--at" and len(rest) >= 2 and not re.search(r"\s", rest[0]) and not rest[1].startswith("-"):
            folded.append(f"{rest.pop(0)} {rest.pop(0)}")
    return folded


def parse_time(text: str, *, field: str) -> float:
    """Seconds from `4`, `4.5s`, `250ms` or `1m`."""
    match = TIME.fullmatch(text)
    if match is None:
        raise OptionError(f"expected a time such as 4s, 2.5s or 250ms, not {text!r}", code="time_invalid", field=field)
    number, unit = match.groups()
    return float(number) * SECONDS_IN[unit or "s"]


def parse_timed_prompts(values: Sequence[str]) -> tuple[TimedPrompt, ...]:
    """The later prompts in order of time."""
    prompts = []
    for value in values:
        time, _, prompt = value.partition(" ")
        if not prompt.strip():
            raise OptionError(f"expected a time and a prompt, not {value!r}", code="prompt_empty", field="at")
        prompts.append(TimedPrompt(parse_time(time, field="at"), prompt))
    return tuple(sorted(prompts, key=lambda timed: timed.seconds))
