"""Files of weights: the only module that opens them.

A file written here carries its format and a SHA-256 over everything else in it; one that does not match its
digest is refused, and so is a truncated one. Files of others (`open_tensors`) are read one tensor at a time, and a
pickle in one may hold tensors and nothing that runs. Knows nothing of what the tensors mean or of where they go
(fill.py).
"""

import hashlib
import json
import os
import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol
from zipfile import BadZipFile, is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.errors import WeightsError

FORMAT = "longtake-1"
FORMAT_KEY = "format"
DIGEST_KEY = "sha256"
INDEX_SUFFIX: Final = ".safetensors.index.json"
PICKLE_SUFFIXES: Final = (".pt", ".pth")
USUAL_KEYS: Final = ("generator", "generator_ema", "model", "generator_lora")
"""The dictionaries of a training checkpoint that hold weights, in the order in which they are taken."""
WINDOWS: Final = 32
"""A file is mapped anew after each thirty-second part of it, so that what was read of it does not stay in memory."""
_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


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


@dataclass(frozen=True, slots=True)
class TensorFact:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class TensorReader(Protocol):
    """A file in which tensors are known by name and read one at a time."""

    @property
    def source(self) -> Path: ...

    @property
    def facts(self) -> Mapping[str, TensorFact]:
        """By name, in the order in which they lie in the file."""
        ...

    def read(self, name: str) -> Tensor:
        """A view of the file: to be copied, and dropped before the next is read. Raises WeightsError."""
        ...


class _MappedFile(ABC):
    """A file that is mapped into memory, and mapped anew as it is read."""

    def __init__(self, source: Path, facts: Mapping[str, TensorFact]) -> None:
        self.source: Final = source
        self.facts: Final = facts
        self._window = sum(fact.nbytes for fact in facts.values()) // WINDOWS
        self._mapped: Any = None
        self._read = 0

    @abstractmethod
    def _map(self) -> Any: ...

    @abstractmethod
    def _take(self, name: str) -> Tensor: ...

    def read(self, name: str) -> Tensor:
        if self._mapped is None or self._read > self._window:
            self._mapped, self._read = None, 0
            self._mapped = self._map()
        self._read += self.facts[name].nbytes
        return self._take(name)


class _SafetensorsFile(_MappedFile):
    def __init__(self, source: Path) -> None:
        with _opened(source) as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            facts = {name: _slice_fact(source, name, found) for name, found in slices.items()}
        super().__init__(source, facts)

    def _map(self) -> Any:
        return _opened(self.source)

    def _take(self, name: str) -> Tensor:
        tensor: Tensor = self._mapped.get_tensor(name)
        return tensor


class _PickledFile(_MappedFile):
    """A file that torch wrote. Only tensors are unpickled (`weights_only`), and only mapped, not read."""

    def __init__(self, source: Path, key: str | None) -> None:
        self._key = key
        tensors = _select(_unpickle(source), key, source)
        super().__init__(source, {name: TensorFact(tuple(t.shape), t.dtype) for name, t in tensors.items()})

    def _map(self) -> Any:
        return _select(_unpickle(self.source), self._key, self.source)

    def _take(self, name: str) -> Tensor:
        tensor: Tensor = self._mapped[name]
        return tensor


class _ShardedFile:
    """Several safetensors files with an index that says which holds what; it has to be right about all of them."""

    def __init__(self, source: Path) -> None:
        self.source: Final = source
        places = _read_index(source)
        self._shards = {shard: _SafetensorsFile(source.parent / shard) for shard in sorted(set(places.values()))}
        found = {(shard, name) for shard, file in self._shards.items() for name in file.facts}
        wrong = sorted({(shard, name) for name, shard in places.items()} ^ found)
        if wrong:
            listed = "; ".join(
                f"{shard}: {'unlisted' if (shard, name) in found else 'missing'} {name}" for shard, name in wrong
            )
            raise WeightsError(f"{source}: {len(wrong)} tensors are not where it says: {listed}", field="model")
        self._places = places
        self.facts: Final = {name: fact for file in self._shards.values() for name, fact in file.facts.items()}

    def read(self, name: str) -> Tensor:
        return self._shards[self._places[name]].read(name)


def open_tensors(source: Path, *, key: str | None = None) -> TensorReader:
    """A safetensors file, an index of several, or a file that torch wrote; no tensor is read yet.

    `key` names the dictionary of a training checkpoint that holds the weights; without it the first usual one is
    taken, or the file itself where it is one dictionary of tensors. Raises WeightsError, which names the file.
    """
    if not source.is_file():
        raise WeightsError(f"{source}: expected a file of weights, found none", field="model")
    if source.name.endswith(INDEX_SUFFIX):
        return _ShardedFile(source)
    if source.suffix == ".safetensors":
        return _SafetensorsFile(source)
    if source.suffix in PICKLE_SUFFIXES:
        return _PickledFile(source, key)
    known = ", ".join((".safetensors", INDEX_SUFFIX, *PICKLE_SUFFIXES))
    raise WeightsError(f"{source}: expected a file that ends with one of {known}", field="model")


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


def _opened(source: Path) -> Any:
    try:
        return safe_open(source, framework="pt")
    except FileNotFoundError:
        raise WeightsError(f"{source}: expected a file of weights, found none", field="model") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{source}: expected a whole safetensors file: {error}", field="model") from error


def _slice_fact(source: Path, name: str, found: Any) -> TensorFact:
    dtype = _DTYPES.get(found.get_dtype())
    if dtype is None:
        message = f"{source}: {name}: expected one of {', '.join(_DTYPES)}, found {found.get_dtype()}"
        raise WeightsError(message, field="model")
    return TensorFact(tuple(found.get_shape()), dtype)


def _read_index(source: Path) -> dict[str, str]:
    try:
        index = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{source}: expected an index in JSON: {error}", field="model") from error
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{source}: expected a weight_map from tensors to files, found none", field="model")
    for name, shard in places.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            message = f"{source}: {name}: expected the name of a file beside the index, found {shard!r}"
            raise WeightsError(message, field="model")
    return places


def _unpickle(source: Path) -> Any:
    try:
        # Files of before 2020 are no archives and cannot be mapped; they are read whole.
        return torch.load(source, map_location="cpu", weights_only=True, mmap=is_zipfile(source))
    except pickle.UnpicklingError as error:
        # torch's own message advises to switch the check off.
        code = re.search(r"GLOBAL (\S+)", str(error))
        found = f"{code[1]}, which is code" if code else "something else"
        message = f"{source}: expected a pickle of tensors and nothing that runs, found {found}"
        raise WeightsError(message, field="model") from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, AttributeError, TypeError, BadZipFile) as error:
        # What the reader of a damaged archive runs into depends on where the damage is.
        reason = str(error).partition(". ")[0] or type(error).__name__
        raise WeightsError(f"{source}: expected a whole file that torch wrote: {reason}", field="model") from error


def _select(loaded: Any, key: str | None, source: Path) -> dict[str, Tensor]:
    """The dictionary of tensors in what a file holds."""
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{source}: expected a dictionary of tensors, found {type(loaded).__name__}", field="model")
    wanted = USUAL_KEYS if key is None else (key,)
    inner = next((loaded[name] for name in wanted if isinstance(loaded.get(name), Mapping)), None)
    chosen = loaded if inner is None else inner
    strange = [f"{name} ({type(value).__name__})" for name, value in chosen.items() if not isinstance(value, Tensor)]
    if strange:
        expected = f"tensors, or a dictionary of them as {' or '.join(wanted)}" if inner is None else "tensors"
        raise WeightsError(f"{source}: expected {expected}, found {'; '.join(strange)}", field="model")
    return dict(chosen)


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
