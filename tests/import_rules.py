"""The rule that imports point one way: which room may import what, checked on syntax trees.

Knows nothing of this project's rooms (tests/rooms.py holds the table). An import counts wherever it
stands, inside a function or under TYPE_CHECKING too.
"""

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from tests.source_rules import Finding, Source

STANDARD = frozenset(sys.stdlib_module_names)


@dataclass(frozen=True, slots=True)
class Room:
    """What the modules under `name` may import besides the standard library; `never` goes before all else."""

    name: str
    may: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module as a dotted name; `from a import b` gives a.b where that is a module, else a."""

    module: str
    line: int


def room(name: str, may: str = "", *, never: str = "") -> Room:
    return Room(name, frozenset(may.split()), frozenset(never.split()))


def imports_of(source: Source, modules: frozenset[str]) -> list[Import]:
    """What a file imports; `modules` are the dotted names of the project's own modules."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            deeper = [f"{base}.{alias.name}" for alias in node.names]
            found += [Import(name if name in modules else base, node.lineno) for name in deeper]
    return found


def room_of(module: str, rooms: Iterable[Room]) -> Room | None:
    """The room with the longest name that `module` lies in."""
    holding = [room for room in rooms if _lies_in(module, room.name)]
    return max(holding, key=lambda room: len(room.name), default=None)


def check_imports(source: Source, rooms: Iterable[Room], modules: frozenset[str]) -> list[Finding]:
    """Every import is allowed to the room of its file, and every file is in a room."""
    home = room_of(source.module, rooms)
    if home is None:
        return [Finding("imports", source.path, 1, "lies in no room of the table")]
    return [
        Finding("imports", source.path, item.line, f"{home.name} may not import {item.module}")
        for item in imports_of(source, modules)
        if not _allowed(item.module, home)
    ]


def _allowed(module: str, home: Room) -> bool:
    if any(_lies_in(module, name) for name in home.never):
        return False
    return module.split(".")[0] in STANDARD or any(_lies_in(module, name) for name in home.may)


def _lies_in(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")
