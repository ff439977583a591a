"""torch.compile by regions: one transformer block, compiled once a shape and used by every layer, and the decoder.

A region is compiled whole or not at all: a part that cannot be, or one shape too many, is an error and never a quiet
return to another path, which would be other numbers. What was compiled is kept in a file for later starts of the same
fingerprint: a start is then quicker, and runs the very same code. Knows no weights, no stream.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import torch
from torch import nn

from models.errors import ConfigError

MAX_SHAPES: Final = 64
"""Of one region. A window that is full needs two, all ways there and all changes of prompts about a dozen."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Compiler:
    """Compiles regions with one backend."""

    def __init__(self, backend: str = "inductor") -> None:
        self._options: dict[str, Any] = {
            "backend": backend,
            "fullgraph": True,
            "dynamic": False,
            "recompile_limit": MAX_SHAPES,
        }
        if backend == "inductor":
            # What is chosen by measuring could be chosen otherwise at the next start, and round otherwise.
            self._options["options"] = {"deterministic": True}

    def function(self, function: Function) -> Function:
        """The same function, compiled when it is first called with shapes that are new."""
        return cast(Function, torch.compile(function, **self._options))

    def module(self, module: nn.Module) -> None:
        """A module's forward, in place: its parameters keep their names."""
        module.compile(**self._options)


def load_compiled(folder: Path, fingerprint: str) -> bool:
    """Take what an earlier start compiled; False where there is none. Raises ConfigError for a file of strangers."""
    path = _path(folder, fingerprint)
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = file.read()
    except FileNotFoundError:
        return False
    return torch.compiler.load_cache_artifacts(content) is not None


def save_compiled(folder: Path, fingerprint: str) -> int:
    """Keep what this process compiled; the bytes of it, 0 where there was nothing. Raises OSError."""
    saved = torch.compiler.save_cache_artifacts()
    if saved is None:
        return 0
    content, _ = saved
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _path(folder, fingerprint)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.touch(mode=0o600)
    beside.write_bytes(content)
    beside.replace(path)
    return len(content)


def _path(folder: Path, fingerprint: str) -> Path:
    return folder / f"compiled-{fingerprint}.bin"


def _check_owner(path: Path, found: os.stat_result) -> None:
    """What is compiled is code, and is run."""
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = f"{path} is code that will be run: expected a file that only this user can write"
        raise ConfigError(message, field="tuning_dir")
