"""From the name of a preset to an engine that makes blocks: plans the memory, gets the parts, places them.

The one place that decides on device, dtype and threads. What cannot run or does not fit is refused before a file is
read. Knows no process and no settings of the service.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.adapters import Adapters, AdapterSource
from models.attention import Kernel, check_kernel
from models.decoding import hasten
from models.errors import ConfigError
from models.fast import compiler_of, fast_passes, usual_kernel, warm_shapes
from models.fingerprint import Numerics, numerics
from models.generator import Generator
from models.lanes import CudaLane
from models.looking import look_back
from models.lossy import Lossy, changed
from models.memory import MemoryPlan, plan_preset, room_of
from models.parts import LATENT_DTYPES, Beside, Parts, assemble
from models.passes import CachedPasses
from models.presets import Decoder, Preset, get_preset
from models.quantize import Quantize, check_quantize, describe_quantize, held_bytes, quantise
from models.speed import Chosen, Speed, choose
from models.stored import Pieces, Report, Where, random_pieces, stored_pieces
from models.text import CachedTextEncoder
from models.umt5 import TextPlacement


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How an engine is placed, and out of what it is made."""

    device: str = "cpu"
    """`auto`: a CUDA device where there is one."""
    threads: int | None = None
    """CPU threads of torch; None leaves them as they are. Part of the numerics fingerprint."""
    kernel: Kernel = "auto"
    random_seed: int | None = None
    """Stands in for weights: the preset then needs no file."""
    model_dir: Path | None = None
    preset_dir: Path | None = None
    decoder: Decoder | None = None
    """Another than the preset's own."""
    quantize: Quantize = "none"
    adapters: tuple[AdapterSource, ...] = ()
    placement: TextPlacement | None = None
    """Of the text encoder; None lets the memory plan say."""
    memory_budget_bytes: int | None = None
    sessions: int = 1
    """Streams that there should be room for before the text encoder is."""
    report: Report | None = None
    """Is told of the memory plan and of progress, a line at a time."""
    speed: Speed = field(default_factory=Speed)
    lossy: Lossy = field(default_factory=Lossy)


def load_generator(
    preset: str = "demo", *, threads: int | None = None, random_weights: bool = False, device: str = "cpu"
) -> Generator:
    """An engine for a preset by name: `load_engine` with the few options that are asked for most.

    Args:
        random_weights: fill the model with noise instead of reading files, for benchmarks and load tests.
    """
    return load_engine(preset, LoadOptions(device=device, threads=threads, random_seed=0 if random_weights else None))


def load_engine(preset: str, options: LoadOptions) -> Generator:
    """An engine for a preset by name. Raises PresetError, ConfigError or WeightsError."""
    return build_generator(get_preset(preset, preset_dir=options.preset_dir), options)


def build_generator(preset: Preset, options: LoadOptions) -> Generator:
    """An engine for a preset given as a value, as `load_engine` makes it."""
    device = pick_device(options.device)
    preset = as_asked(preset, options)
    dtype = getattr(torch, preset.dtype)
    check_kernel(options.kernel, device)
    check_quantize(options.quantize, device=device, dtype=dtype)
    if options.threads is not None:
        torch.set_num_threads(_positive(options.threads, "threads"))
    if options.random_seed is None:
        preset.require_available()
    chosen = choose(options.speed, device=device, window=preset.window)
    if chosen.graphs and options.lossy.short_heads:
        # Which tokens are near changes from block to block, and a recording does not know of it.
        raise ConfigError("graphs go with heads that all see the same window", field="graphs")
    if chosen.graphs and options.adapters and options.quantize != "none":
        # Putting other adapters in place gives quantised weights new memory, which a recording does not know of.
        raise ConfigError("graphs go with adapters only where nothing is quantised", field="graphs")
    plan = plan_loading(preset, options)
    if options.report is not None:
        for line in plan.lines():
            options.report(line)
    plan.check()
    where = Where(device=device, placement=plan.placement, model_dir=options.model_dir, report=options.report)
    built = (
        stored_pieces(preset, where)
        if options.random_seed is None
        else random_pieces(preset, where, seed=options.random_seed)
    )
    return _put_together(preset, built, options=options, plan=plan, chosen=chosen, device=device)


def pick_device(name: str) -> torch.device:
    """`auto` is a CUDA device where there is one, `auto:N` that one. Raises ConfigError unless the machine has it."""
    if name.partition(":")[0] == "auto":
        name = name.replace("auto", "cuda") if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        message = f"expected a device of this machine, such as cpu, not {name!r}: {reason}"
        raise ConfigError(message, field="device", code="device_invalid") from error


def with_decoder(preset: Preset, decoder: Decoder | None) -> Preset:
    """The preset with another of its decoders. Raises ConfigError where it has none of that kind."""
    wanted = decoder or preset.decoder
    kinds = {preset.decoder, "full", "tiny"} if preset.vae is not None else {preset.decoder}
    if wanted not in kinds:
        message = f"decoder of model {preset.name} must be one of {', '.join(sorted(kinds))}, not {wanted!r}"
        raise ConfigError(message, field="decoder")
    return replace(preset, decoder=wanted)


def as_asked(preset: Preset, options: LoadOptions) -> Preset:
    """The preset with what the options change of it. Raises ConfigError."""
    return changed(with_decoder(preset, options.decoder), options.lossy)


def plan_loading(preset: Preset, options: LoadOptions) -> MemoryPlan:
    """What loading with these options would take; nothing is loaded."""
    room = room_of(pick_device(options.device), budget_bytes=options.memory_budget_bytes)
    return plan_preset(
        as_asked(preset, options),
        room,
        quantize=options.quantize,
        adapted=bool(options.adapters),
        placement=options.placement,
        sessions=options.sessions,
        kind=options.lossy.kv_cache,
    )


def _put_together(
    preset: Preset,
    built: Pieces,
    *,
    options: LoadOptions,
    plan: MemoryPlan,
    chosen: Chosen,
    device: torch.device,
) -> Generator:
    transformer = built.transformer.eval().requires_grad_(False)
    decoder = built.decoder.eval().requires_grad_(False)
    encoder = built.text_encoder.eval().requires_grad_(False)
    adapters = Adapters(transformer, options.adapters, quantize=options.quantize)
    quantise(transformer, options.quantize)
    kernel = usual_kernel(preset, options.kernel, device=device, folder=options.speed.tuning_dir)
    on_host = plan.host_weights_bytes

    def assembled(passes: CachedPasses, *, fingerprint: str = "") -> Parts:
        parts = assemble(
            preset,
            passes,
            text_encoder=CachedTextEncoder(encoder),
            decoder=decoder,
            fingerprint=fingerprint,
            adapters=adapters,
            beside=Beside(
                text_encoder_bytes=plan.text_encoder_bytes if on_host else held_bytes(encoder),
                codec_bytes=held_bytes(decoder),
                host_bytes=on_host,
                placement=plan.placement,
            ),
        )
        return replace(parts, lane=CudaLane(device)) if chosen.decode_stream else parts

    lossy = options.lossy
    short = None
    if lossy.short_heads:
        frames, count = lossy.short_frames(preset), lossy.short_heads
        short = look_back(transformer, preset, frames=frames, count=count, assembled=assembled)
    passes = fast_passes(transformer, preset, kernel=kernel, chosen=chosen, kind=lossy.kv_cache, short=short)
    facts = replace(
        _numerics(preset, built, kernel=kernel, device=device),
        quantize=describe_quantize(options.quantize),
        adapters=adapters.digests,
        options={**chosen.describe(), **lossy.describe(), **({"short heads": short.describe()} if short else {})},
    )
    adapters.put(adapters.usual)
    generator = Generator(assembled(passes, fingerprint=facts.fingerprint()))
    hasten(decoder, channels_last=chosen.channels_last, compiler=compiler_of(chosen))
    if chosen.compile:
        warm_shapes(generator, folder=options.speed.tuning_dir)
    return generator


def _numerics(preset: Preset, built: Pieces, *, kernel: Kernel, device: torch.device) -> Numerics:
    return numerics(
        model=preset.name,
        weights=built.digest,
        device=device,
        attention=kernel,
        dtype=preset.dtype,
        latent_dtype=str(LATENT_DTYPES[preset.dtype]).removeprefix("torch."),
        decoder=preset.decoder,
    )


def _positive(value: int, field: str) -> int:
    if value < 1:
        raise ConfigError(f"{field} must be 1 or more, not {value}", field=field)
    return value
