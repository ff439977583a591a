"""Prints what an image installs before the program itself: the project's dependencies and those of some extras.

    python3 requirements.py pyproject.toml EXTRA ..

Knows pyproject.toml and nothing of what the packages are. Invariant: an extra that is not there is an error.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


def requirements(project: dict[str, object], *, extras: list[str]) -> Iterator[str]:
    """Requirement lines, each once. An extra may name others of the same project. Raises KeyError."""
    optional = project["optional-dependencies"]
    assert isinstance(optional, dict)
    assert isinstance(project["dependencies"], list)
    own = f"{project['name']}["
    seen: set[str] = set()
    waiting = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    while waiting:
        line = str(waiting.pop(0))
        if line.startswith(own):
            named = line[len(own) : line.index("]")].split(",")
            waiting += [more for extra in named for more in optional[extra.strip()]]
        elif line not in seen:
            seen.add(line)
            yield line


if __name__ == "__main__":
    document = tomllib.loads(Path(sys.argv[1]).read_text("utf-8"))
    sys.stdout.write("\n".join(requirements(document["project"], extras=sys.argv[2:])) + "\n")
