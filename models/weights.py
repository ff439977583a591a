"""Files of weights: the only module that opens them.

A file written here carries its format and a SHA-256 over everything else in it; one that does not match its
digest is refused, and so is a truncated one. Loading is strict, and all or nothing: every missing,
unexpected, misshapen or non-finite tensor is named in one error, and no module is touched unless all fit.
Knows nothing of what the tensors mean.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from models.errors import WeightsError

FORMAT = "longtake-1"
FORMAT_KEY = "format"
DIGEST_KEY = "sha256"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and the file's own notes."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_safetensors(path: Path) -> Checkpoint:
    """Everything in the file, on the CPU. Raises WeightsError, naming the file, if damaged or missing."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"{path}: expected a file of weights, found none", field="model") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a whole safetensors file: {error}", field="model") from error
    _check_digest(Checkpoint(tensors, metadata), path)
    return Checkpoint(tensors, metadata)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Replaces the file at once or not at all; format and digest are added to the metadata."""
    taken = {FORMAT_KEY, DIGEST_KEY} & set(metadata)
    if taken:
        raise ValueError(f"expected metadata without {sorted(taken)}, which the writer sets itself")
    stored = {name: _plain_copy(tensor) for name, tensor in tensors.items()}
    notes = {**metadata, FORMAT_KEY: FORMAT}
    notes[DIGEST_KEY] = _digest(Checkpoint(stored, notes))
    _replace_file(path, save(stored, metadata=notes))


def read_words(metadata: Mapping[str, str], key: str, *, source: Path) -> tuple[str, ...]:
    """A list of words kept as JSON in a file's metadata (the vocabulary)."""
    text = metadata.get(key)
    if text is None:
        raise WeightsError(f"{source}: expected metadata {key!r}, found {sorted(metadata)}", field="model")
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        message = f"{source}: expected a JSON list of words as {key!r}, found {text[:60]}"
        raise WeightsError(message, field="model")
    return tuple(words)


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], *, prefix: str = "", source: Path) -> None:
    """Fills the module from the tensors whose names begin with `prefix`; `source` is named in errors."""
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    load_all({prefix: module}, own, source=source)


def load_all(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], *, source: Path) -> None:
    """Fills several modules, keyed by the prefix of their names; no tensor may be left over.

    Tensors are cast to the module's dtype and moved to its device; a module on the meta device gets them on
    the CPU, as copies.
    """
    problems = [
        f"unexpected {name} {list(tensor.shape)}"
        for name, tensor in tensors.items()
        if not name.startswith(tuple(modules))
    ]
    ready: list[tuple[nn.Module, dict[str, Tensor]]] = []
    for prefix, module in modules.items():
        found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        converted, wrong = _match(module, found, prefix)
        problems += wrong
        ready.append((module, converted))
    if problems:
        listed = "; ".join(problems)
        raise WeightsError(f"{source}: {len(problems)} tensors do not fit: {listed}", field="model")
    for module, converted in ready:
        on_meta = any(tensor.is_meta for tensor in module.state_dict().values())
        module.load_state_dict(converted, strict=True, assign=on_meta)


def _match(
    module: nn.Module, found: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors as the module wants them, and what is wrong with them."""
    wanted: dict[str, Tensor] = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    problems = [f"unexpected {name} {list(found[name].shape)}" for name in found if name not in wanted]
    converted: dict[str, Tensor] = {}
    for name, target in wanted.items():
        tensor = found.get(name)
        if tensor is None:
            problems.append(f"missing {name}, expected {list(target.shape)}")
            continue
        problem = _mismatch(tensor, target)
        if problem is not None:
            problems.append(f"{name}: {problem}")
            continue
        cast = _convert(tensor, target)
        if not bool(torch.isfinite(cast).all()):
            problems.append(f"{name}: expected finite values as {cast.dtype}, found others")
        converted[name.removeprefix(prefix)] = cast
    return converted, problems


def _mismatch(tensor: Tensor, target: Tensor) -> str | None:
    if tensor.shape != target.shape:
        return f"expected shape {list(target.shape)}, found {list(tensor.shape)}"
    if tensor.dtype != target.dtype and not (tensor.is_floating_point() and target.is_floating_point()):
        return f"expected {target.dtype}, found {tensor.dtype}"
    return None


def _convert(tensor: Tensor, target: Tensor) -> Tensor:
    if target.is_meta:
        return tensor.to(dtype=target.dtype, copy=True)
    return tensor.to(dtype=target.dtype, device=target.device)


def _plain_copy(tensor: Tensor) -> Tensor:
    """Its own contiguous memory: tied or sliced tensors are written out in full."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _check_digest(checkpoint: Checkpoint, path: Path) -> None:
    form, digest = checkpoint.metadata.get(FORMAT_KEY, ""), checkpoint.metadata.get(DIGEST_KEY)
    ours = form.startswith(FORMAT.partition("-")[0])
    if ours and form != FORMAT:
        raise WeightsError(f"{path}: expected format {FORMAT}, found {form}", field="model")
    if digest is None:
        if ours:
            raise WeightsError(f"{path}: expected metadata {DIGEST_KEY!r}, found none", field="model")
        return  # published by others: there is nothing to compare with
    computed = _digest(checkpoint)
    if computed != digest:
        raise WeightsError(f"{path}: damaged: expected sha256 {digest}, found {computed}", field="model")


def _digest(checkpoint: Checkpoint) -> str:
    """Over metadata (itself aside), names, dtypes, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    notes = sorted((key, value) for key, value in checkpoint.metadata.items() if key != DIGEST_KEY)
    digest.update(json.dumps(notes).encode())
    for name in sorted(checkpoint.tensors):
        tensor = checkpoint.tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _replace_file(path: Path, content: bytes) -> None:
    """Whoever opens `path` sees the old file or the whole new one, also after a power cut."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
