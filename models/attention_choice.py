"""The attention kernel that is quickest on a device for a shape: measured once, kept in a file, used by later starts.

A choice that was measured anew at each start could be another one, and another kernel rounds otherwise; so without a
place to keep it nothing is measured. What was measured is kept beside the choice, for people. Knows how kernels are
called; knows no model.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import torch
from torch import Tensor

from models.attention import KERNELS, Kernel, attention, check_kernel
from models.errors import EngineError
from models.fingerprint import device_name

CANDIDATES: Final[tuple[Kernel, ...]] = ("cudnn", "flash3", "flash", "xformers", "efficient")
REPEATS: Final = 20
FILE: Final = "attention.json"

Clock = Callable[[Callable[[], object]], float]
"""Milliseconds that a function takes on the device, the median of some runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """What kernels are compared at: a block's queries against a full window."""

    queries: int
    keys: int
    heads: int
    head_dim: int
    dtype: str


@dataclass(frozen=True, slots=True)
class AttentionChoice:
    """`milliseconds` of each kernel that runs, quickest first."""

    kernel: Kernel
    milliseconds: Mapping[str, float]


def kept_choice(folder: Path, shape: AttentionShape, *, device: torch.device) -> AttentionChoice | None:
    """What an earlier start measured on such a device with this torch. What cannot be read counts as nothing."""
    found = _read(folder / FILE).get(_key(shape, device))
    if not isinstance(found, dict):
        return None
    kernel, times = found.get("kernel"), found.get("milliseconds")
    if kernel not in KERNELS or not isinstance(times, dict):
        return None
    return AttentionChoice(kernel, {str(name): float(value) for name, value in times.items()})


def choose_attention(
    folder: Path,
    shape: AttentionShape,
    *,
    device: torch.device,
    clock: Clock | None = None,
    candidates: Iterable[Kernel] = CANDIDATES,
) -> AttentionChoice:
    """The kept choice, or one that is measured now and kept. Without a kernel that runs: torch's own choice."""
    kept = kept_choice(folder, shape, device=device)
    if kept is not None:
        return kept
    times = measure_kernels(shape, device=device, clock=clock or device_clock(device), candidates=candidates)
    ordered = dict(sorted(times.items(), key=lambda item: item[1]))
    choice = AttentionChoice(next(iter(ordered), "auto"), {str(name): value for name, value in ordered.items()})
    _keep(folder, _key(shape, device), choice)
    return choice


@torch.inference_mode()
def measure_kernels(
    shape: AttentionShape, *, device: torch.device, clock: Clock, candidates: Iterable[Kernel] = CANDIDATES
) -> dict[Kernel, float]:
    """Milliseconds of each kernel that runs at this shape."""
    dtype = getattr(torch, shape.dtype)
    q = torch.ones(1, shape.queries, shape.heads, shape.head_dim, device=device, dtype=dtype)
    k, v = (torch.ones(1, shape.keys, shape.heads, shape.head_dim, device=device, dtype=dtype) for _ in range(2))
    times: dict[Kernel, float] = {}
    for kernel in candidates:
        try:
            check_kernel(kernel, device)
            times[kernel] = clock(_call(q, k, v, kernel))
        except (EngineError, RuntimeError, ImportError, NotImplementedError, ValueError):
            continue  # it does not run here, which is what was to be found out
    return times


def _call(q: Tensor, k: Tensor, v: Tensor, kernel: Kernel) -> Callable[[], object]:
    return lambda: attention(q, k, v, kernel=kernel)


def device_clock(device: torch.device) -> Clock:
    """Events of a GPU; on a CPU the time that passes."""
    return _cuda_clock if device.type == "cuda" else _host_clock


def _cuda_clock(function: Callable[[], object]) -> float:
    for _ in range(3):
        function()
    pairs = []
    for _ in range(REPEATS):
        begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        function()
        done.record()
        pairs.append((begun, done))
    torch.cuda.synchronize()
    return float(sorted(begun.elapsed_time(done) for begun, done in pairs)[REPEATS // 2])


def _host_clock(function: Callable[[], object]) -> float:
    function()
    spent = []
    for _ in range(REPEATS):
        begun = perf_counter()
        function()
        spent.append(1000 * (perf_counter() - begun))
    return sorted(spent)[REPEATS // 2]


def _key(shape: AttentionShape, device: torch.device) -> str:
    described = asdict(shape)
    sizes = " ".join(f"{name}={described[name]}" for name in sorted(described))
    return f"{device_name(device)} torch={torch.__version__} {sizes}"


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _keep(folder: Path, key: str, choice: AttentionChoice) -> None:
    """Beside the others, in one step: another start may read or write at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    content = {**_read(path), key: {"kernel": choice.kernel, "milliseconds": dict(choice.milliseconds)}}
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1, sort_keys=True), "utf-8")
    beside.replace(path)
