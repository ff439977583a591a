"""What serving a preset on this machine would run into, found out before anything is loaded.

The checks stand in the order in which starting an engine meets them, so the first that fails is what would fail first.
Names and shapes are read from the heads of files. Nothing is raised for a check that fails: it says so and what to do.
Knows how presets are loaded; loads none, and changes nothing but the record of sums.
"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import torch

from models.attention import KERNELS, Kernel, attention, check_kernel
from models.attention_choice import kept_choice
from models.checkpoint import transformer_problems, transformer_source
from models.errors import ConfigError, EngineError, WeightsError
from models.fast import attention_shape
from models.fill import compare
from models.fingerprint import device_name
from models.licences import require_accepted
from models.load import LoadOptions, as_asked, pick_device, plan_loading, with_decoder
from models.lora import LoraSource, read_lora
from models.pieces import make_decoder, make_umt5, stand_in_tokenizer
from models.presets import ModelFile, Preset, Role
from models.quantize import check_quantize
from models.speed import choose
from models.sums import check_file, size_problem
from models.tokenizer import PromptTokenizer
from models.umt5 import umt5_name
from models.weights import open_tensors, read_safetensors

Verdict = Literal["ok", "unknown", "fails"]
Read = Callable[[ModelFile, int], None]
"""Told of the bytes of each file whose sum is computed."""
PACKAGES: Final = {"umt5": ("transformers", "tokenizers", "ftfy"), "full": ("diffusers",)}
"""Of the extra `checkpoints`, by what needs them."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `details` are for people."""

    name: str
    verdict: Verdict
    details: tuple[str, ...]


def diagnose(preset: Preset, options: LoadOptions, *, sums: bool = True, read: Read | None = None) -> Iterator[Check]:
    """Look at everything that serving the preset needs. Without `sums` the values of files are not read."""
    assert options.model_dir is not None, "a diagnosis is of files in a folder"
    try:
        preset = with_decoder(preset, options.decoder)
    except ConfigError as error:
        yield Check("preset", "fails", (str(error),))
        return
    yield _check("preset", lambda: _preset(preset))
    device = _check("device", lambda: _device(options))
    yield device
    if device.verdict == "ok":
        yield _check("attention", lambda: _attention(preset, options))
        yield _check("fast paths", lambda: _fast_paths(preset, options))
        yield _check("quantisation", lambda: _quantisation(preset, options))
        yield _check("memory", lambda: _memory(preset, options))
    if preset.weights is not None:
        path = Path(__file__).parent / preset.weights
        yield _check("weights", lambda: _packaged(path))
        return
    yield _check("licence", lambda: _licence(preset, options))
    packages = _check("packages", lambda: _packages(preset))
    yield packages
    preset, model_dir = _used(preset), options.model_dir
    there = _files(preset, model_dir)
    yield there
    if there.verdict == "ok":
        yield _sums(preset, model_dir, read) if sums else Check("sums", "unknown", ("not computed, as asked",))
    if there.verdict == packages.verdict == "ok":
        yield _shapes(preset, model_dir)
    if options.adapters:
        yield _check("adapters", lambda: _adapters(preset, options))


def _check(name: str, look: Callable[[], list[str]]) -> Check:
    try:
        return Check(name, "ok", tuple(look()))
    except EngineError as error:
        return Check(name, "fails", (str(error),))


def _preset(preset: Preset) -> list[str]:
    preset.require_available()
    video = preset.video
    return [f"{preset.title}: {video.width}x{video.height} at {video.fps} frames a second, decoder {preset.decoder}"]


def _device(options: LoadOptions) -> list[str]:
    device = pick_device(options.device)
    if device.type != "cuda":
        return [f"{device}: {device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"]
    facts = torch.cuda.get_device_properties(device)
    memory = f"{facts.total_memory / 2**30:.1f} GiB, compute capability {facts.major}.{facts.minor}"
    return [f"{device}: {facts.name}, {memory}, torch {torch.__version__}"]


def _fast_paths(preset: Preset, options: LoadOptions) -> list[str]:
    preset = as_asked(preset, options)
    chosen = choose(options.speed, device=pick_device(options.device), window=preset.window)
    lossy = options.lossy
    facts = {**chosen.describe(), **lossy.describe()}
    if lossy.short_heads:
        facts["short heads"] = f"{lossy.short_heads} of each layer, {lossy.short_frames(preset)} latent frames"
    return [", ".join(f"{name}: {value}" for name, value in facts.items()) or "none"]


def _attention(preset: Preset, options: LoadOptions) -> list[str]:
    """Each kernel is run once: that a package is installed does not say that it works here."""
    device = pick_device(options.device)
    check_kernel(options.kernel, device)
    works = {kernel: _runs(kernel, device) for kernel in KERNELS}
    failure = works[options.kernel]
    if failure is not None:
        raise ConfigError(f"attention kernel {options.kernel} does not run on {device}: {failure}", field="attention")
    usable = ", ".join(kernel for kernel, failure in works.items() if failure is None)
    said = [f"{options.kernel} is used; on {device} there are {usable}"]
    folder = options.speed.tuning_dir
    kept = None if folder is None else kept_choice(folder, attention_shape(preset), device=device)
    if kept is not None:
        times = ", ".join(f"{name} {spent:.3f} ms" for name, spent in kept.milliseconds.items())
        said.append(f"measured at this preset's shape, auto is {kept.kernel}: {times}")
    return said


def _runs(kernel: Kernel, device: torch.device) -> str | None:
    try:
        check_kernel(kernel, device)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        tokens = torch.ones(1, 8, 2, 128, device=device, dtype=dtype)
        attention(tokens, tokens, tokens, kernel=kernel)
    except (EngineError, RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        return str(error).partition("\n")[0]
    return None


def _quantisation(preset: Preset, options: LoadOptions) -> list[str]:
    device = pick_device(options.device)
    check_quantize(options.quantize, device=device, dtype=getattr(torch, preset.dtype))
    return [f"{options.quantize}, over {preset.dtype}"]


def _memory(preset: Preset, options: LoadOptions) -> list[str]:
    plan = plan_loading(preset, options)
    plan.check()
    return plan.lines()


def _packaged(path: Path) -> list[str]:
    checkpoint = read_safetensors(path)
    return [f"{path.name}: {len(checkpoint.tensors)} tensors, as its own sum says"]


def _licence(preset: Preset, options: LoadOptions) -> list[str]:
    assert options.model_dir is not None
    require_accepted(preset, options.model_dir)
    licence = preset.licence
    return [f"{licence.name} ({'any' if licence.commercial else 'non-commercial'} use): {licence.url}"]


def _packages(preset: Preset) -> list[str]:
    needed = [*(PACKAGES["umt5"] if preset.umt5 is not None else ()), *PACKAGES.get(preset.decoder, ())]
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        message = (
            f"expected the packages {', '.join(missing)} (extra `checkpoints`: pip install 'longtake[checkpoints]')"
        )
        raise ConfigError(message, field="packages")
    return [", ".join(needed)] if needed else []


def _used(preset: Preset) -> Preset:
    """Without the file of the decoder that is not used: it need not be there."""
    unused: Role = "tiny_decoder" if preset.decoder == "full" else "vae"
    return replace(preset, files=tuple(file for file in preset.files if file.role != unused))


def _files(preset: Preset, model_dir: Path) -> Check:
    missing = [problem for file in preset.files if (problem := size_problem(file, model_dir)) is not None]
    if missing:
        return Check("files", "fails", (*missing, f"what can be fetched, is: longtake download {preset.name}"))
    return Check("files", "ok", tuple(file.name for file in preset.files))


def _sums(preset: Preset, model_dir: Path, read: Read | None) -> Check:
    found, wrong = [], []
    for file in preset.files:
        try:
            digest = check_file(file, model_dir, read=None if read is None else _reader(file, read))
        except WeightsError as error:
            wrong.append(str(error))
            continue
        known = "as the preset says" if file.sha256 is not None else "the preset names none to compare with"
        found.append(f"{file.name}: {digest} ({known})")
    return Check("sums", "fails" if wrong else "ok", tuple(wrong or found))


def _reader(file: ModelFile, read: Read) -> Callable[[int], None]:
    return lambda size: read(file, size)


def _shapes(preset: Preset, model_dir: Path) -> Check:
    problems = tuple(_shape_problems(preset, model_dir))
    return Check("shapes", "fails" if problems else "ok", problems or ("names and shapes are those of the preset",))


def _shape_problems(preset: Preset, model_dir: Path) -> Iterator[str]:
    """What does not fit, with its file, by the heads of files alone."""
    for look in (_transformer_problems, _text_encoder_problems, _tokenizer_problems, _decoder_problems):
        try:
            yield from look(preset, model_dir)
        except EngineError as error:
            yield str(error)


def _transformer_problems(preset: Preset, model_dir: Path) -> Iterator[str]:
    yield from transformer_problems(preset.transformer, transformer_source(preset, model_dir))


def _adapters(preset: Preset, options: LoadOptions) -> list[str]:
    found = []
    for source in options.adapters:
        lora = read_lora(LoraSource(path=source.path), preset.transformer)
        found.append(f"{source.name}: {len(lora.targets)} layers, {lora.nbytes} bytes")
    return found


def _text_encoder_problems(preset: Preset, model_dir: Path) -> Iterator[str]:
    if preset.umt5 is None:
        return
    file = preset.require_file("text_encoder")
    encoder = make_umt5(preset, stand_in_tokenizer(preset.umt5), dtype=getattr(torch, preset.dtype))
    path = file.location(model_dir)
    for problem in compare(open_tensors(path, key=file.key), encoder.model, rename=umt5_name):
        yield f"{path}: {problem}"


def _tokenizer_problems(preset: Preset, model_dir: Path) -> Iterator[str]:
    if preset.umt5 is None:
        return
    path = preset.require_file("tokenizer").location(model_dir)
    tokenizer = PromptTokenizer.from_file(path)
    if tokenizer.vocabulary > preset.umt5.vocabulary:
        yield f"{path}: expected at most {preset.umt5.vocabulary} pieces, found {tokenizer.vocabulary}"


def _decoder_problems(preset: Preset, model_dir: Path) -> Iterator[str]:
    file = preset.require_file("vae" if preset.decoder == "full" else "tiny_decoder")
    path = file.location(model_dir)
    source = open_tensors(path, key=file.key)
    with torch.device("meta"):
        decoder = make_decoder(preset)
    if preset.decoder == "full":
        from models.wan_vae import WanVae

        assert isinstance(decoder, WanVae)
        problems = compare(source, decoder.model, rename=decoder.own_name)
    else:
        problems = compare(source, decoder)
    for problem in problems:
        yield f"{path}: {problem}"
