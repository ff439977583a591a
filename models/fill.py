"""Tensors into modules, strictly: every missing, unexpected, misshapen or non-finite one is named in one error.

From memory (`load_all`), all or nothing: no module is touched unless all fit. From a file (`stream_into`), one tensor
at a time: names, shapes and kinds are compared before the first is read, so that a file of another model is refused at
once; a module that was being filled when an error came is to be thrown away. Opens no file itself and knows nothing
of what the tensors mean.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import WeightsError
from models.weights import TensorFact, TensorReader


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a file is read; `name` is the tensor that was read last."""

    source: Path
    done_bytes: int
    total_bytes: int
    name: str


Progress = Callable[[LoadProgress], None]
Rename = Callable[[str], str]
"""A name of the file as the module's; an empty one leaves the tensor out."""


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
    _raise_any(source, problems)
    for module, converted in ready:
        on_meta = any(tensor.is_meta for tensor in module.state_dict().values())
        module.load_state_dict(converted, strict=True, assign=on_meta)


def _match(module: nn.Module, found: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], list[str]]:
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
        if not is_finite(cast):
            problems.append(f"{name}: expected finite values as {cast.dtype}, found others")
        converted[name.removeprefix(prefix)] = cast
    return converted, problems


def _mismatch(found: Tensor | TensorFact, target: Tensor) -> str | None:
    if tuple(found.shape) != tuple(target.shape):
        return f"expected shape {list(target.shape)}, found {list(found.shape)}"
    if found.dtype != target.dtype and not (found.dtype.is_floating_point and target.dtype.is_floating_point):
        return f"expected {target.dtype}, found {found.dtype}"
    return None


def _convert(tensor: Tensor, target: Tensor) -> Tensor:
    if target.is_meta:
        return tensor.to(dtype=target.dtype, copy=True)
    return tensor.to(dtype=target.dtype, device=target.device)


@torch.no_grad()
def stream_into(
    module: nn.Module,
    file: TensorReader,
    *,
    rename: Rename | None = None,
    change: Callable[[str, Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> None:
    """Fill a module from a file, in the module's own dtypes.

    Args:
        rename: the module's name for a name of the file.
        change: what becomes of a tensor, by the module's name, before it is stored.
        device: where a module on the meta device gets its memory; any other stays where it is.

    Raises:
        WeightsError: lists every tensor that does not fit.
    """
    places, problems = _places(file, module.state_dict(), rename)
    _raise_any(file.source, problems)
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        _give_memory(module, device)
    targets: Mapping[str, Tensor] = module.state_dict()
    total, done = sum(file.facts[name].nbytes for name in places), 0
    for name, own in places.items():
        tensor, target = file.read(name), targets[own]
        target.copy_(tensor if change is None else change(own, tensor))
        if not is_finite(target):
            problems.append(f"{name}: expected finite values as {target.dtype}, found others")
        done += file.facts[name].nbytes
        if progress is not None:
            progress(LoadProgress(file.source, done, total, name))
    _raise_any(file.source, problems)


def compare(file: TensorReader, module: nn.Module, *, rename: Rename | None = None) -> tuple[str, ...]:
    """What of a file does not fit a module, which may be on the meta device; nothing is read."""
    return tuple(_places(file, module.state_dict(), rename)[1])


def _places(
    file: TensorReader, wanted: Mapping[str, Tensor], rename: Rename | None
) -> tuple[dict[str, str], list[str]]:
    """The module's name of each tensor of the file, in the file's order, and what is wrong."""
    places: dict[str, str] = {}
    taken: dict[str, str] = {}
    problems: list[str] = []
    for name, fact in file.facts.items():
        own = name if rename is None else rename(name)
        if not own:
            continue
        problem = _problem(name, fact, wanted.get(own))
        if own in taken:
            problem = f"{name}: expected one tensor for {own}, {taken[own]} is another"
        taken.setdefault(own, name)
        if problem is None:
            places[name] = own
        else:
            problems.append(problem)
    problems += [f"missing {own}, expected {list(wanted[own].shape)}" for own in wanted if own not in taken]
    return places, problems


def _problem(name: str, fact: TensorFact, target: Tensor | None) -> str | None:
    if target is None:
        return f"unexpected {name} {list(fact.shape)}"
    mismatch = _mismatch(fact, target)
    return None if mismatch is None else f"{name}: {mismatch}"


def _give_memory(module: nn.Module, device: torch.device | str) -> None:
    stored = module.state_dict().keys()
    bare = [name for name, _ in module.named_buffers() if name not in stored]
    assert not bare, f"no file holds the values of {bare}: they are computed when the module is made"
    module.to_empty(device=device)


def is_finite(tensor: Tensor) -> bool:
    """Whether all its values are numbers; without the copies that a test of each would make."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    least, most = torch.aminmax(tensor.detach())
    return bool(torch.isfinite(least) & torch.isfinite(most))


def _raise_any(source: Path, problems: Iterable[str]) -> None:
    listed = list(problems)
    if listed:
        raise WeightsError(f"{source}: {len(listed)} tensors do not fit: {'; '.join(listed)}", field="model")
