"""Show a take in a notebook: the picture of a cell is replaced as the frames come.

    from client.examples.notebook import show
    await show("a red ball bounces over a grassy meadow by day", seconds=5)

Needs IPython where there is a notebook; any other `display` will do: `python -m client.examples.notebook` writes each
picture to a file. Knows the client. Invariant: a cell holds one picture.
"""

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from client.examples.arguments import parser
from client.library import LOCAL, Client

Display = Callable[[bytes], None]
"""Shows a JPEG in place of the one before."""


def notebook_display() -> Display:
    """The notebook's own. Raises ModuleNotFoundError outside of one."""
    shown: Any = import_module("IPython.display")
    handle = shown.display(display_id=True)
    return lambda jpeg: handle.update(shown.Image(data=jpeg))


async def show(
    prompt: str, *, seconds: float = 5.0, url: str = LOCAL, api_key: str | None = None, display: Display | None = None
) -> int:
    """Play a take, and return the number of its frames. They are JPEGs as they come, so nothing is decoded here."""
    display = display or notebook_display()
    frames = 0
    async with Client(url, api_key).session(prompt, seconds=seconds) as take:
        async for frame in take:
            display(frame.data)
            frames += 1
    return frames


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser(__doc__)
    made.add_argument("--out", type=Path, default=Path("last.jpg"), help="where the picture goes")
    options = made.parse_args(arguments)
    given = {"seconds": options.seconds, "url": options.url, "api_key": options.api_key}
    print(asyncio.run(show(options.prompt, display=options.out.write_bytes, **given)), "frames shown")


if __name__ == "__main__":
    main()
