"""Show a take in a window, and direct it from a line of text below the picture.

    python -m client.examples.window --prompt "a red ball in the snow"

Needs a display and Python's tkinter; `--sink count` counts the frames instead of showing them.
Knows the client and tkinter. Invariant: tkinter has the main thread, the take a thread of its own; between them is a
queue with a bound, so a window that is slow slows the take.
"""

import argparse
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from PIL import Image

from client.errors import ClientError
from client.examples.arguments import parser
from client.sync_library import Client, Take

_AHEAD = 48  # frames
_PATIENCE = 60.0


class Sink(Protocol):
    """What shows pictures, until there are no more. `prompts` are put into a queue for the take."""

    def show(
        self, frames: "queue.Queue[Image.Image | None]", prompts: "queue.SimpleQueue[str]", *, fps: float
    ) -> int: ...


class Window:
    """A window that is as large as `scale` times the picture."""

    def __init__(self, title: str, *, scale: int = 4) -> None:
        self._title, self._scale = title, scale

    def show(self, frames: "queue.Queue[Image.Image | None]", prompts: "queue.SimpleQueue[str]", *, fps: float) -> int:
        import tkinter

        from PIL import ImageTk

        root = tkinter.Tk()
        root.title(self._title)
        picture, line = tkinter.Label(root), tkinter.Entry(root)
        kept: list[ImageTk.PhotoImage] = []  # the one on screen: tkinter itself does not hold it
        shown = 0
        picture.pack()
        line.pack(fill="x")

        def send(_event: object) -> None:
            prompts.put(line.get())
            line.delete(0, "end")

        def tick() -> None:
            nonlocal shown
            frame = frames.get(timeout=_PATIENCE)
            if frame is None:
                root.destroy()
                return
            kept.append(ImageTk.PhotoImage(frame.resize((frame.width * self._scale, frame.height * self._scale))))
            picture.configure(image=str(kept[-1]))
            del kept[:-1]
            shown += 1
            root.after(round(1000 / fps), tick)

        line.bind("<Return>", send)
        tick()
        root.mainloop()
        return shown


class Count:
    """No window: frames are counted, and one prompt is sent on the way."""

    def show(self, frames: "queue.Queue[Image.Image | None]", prompts: "queue.SimpleQueue[str]", *, fps: float) -> int:
        shown = 0
        while frames.get(timeout=_PATIENCE) is not None:
            shown += 1
            if shown == 1:
                prompts.put("a blue star circles over the sea at night")
        return shown


def play(options: argparse.Namespace, sink: Sink) -> int:
    """The number of frames that were shown."""
    frames, prompts = queue.Queue[Image.Image | None](_AHEAD), queue.SimpleQueue[str]()
    with (
        Client(options.url, api_key=options.api_key) as client,
        client.session(options.prompt, seconds=options.seconds) as take,
    ):
        feeder = threading.Thread(target=_feed, args=(take, frames, prompts), daemon=True)
        feeder.start()
        shown = sink.show(frames, prompts, fps=take.info.fps)
        _drain(feeder, frames)
    return shown


def _feed(take: Take, frames: "queue.Queue[Image.Image | None]", prompts: "queue.SimpleQueue[str]") -> None:
    try:
        for frame in take:
            _send(take, prompts)
            frames.put(Image.fromarray(frame.numpy()))
    except ClientError as error:
        print(f"the take ended: {error}")
    finally:
        frames.put(None)


def _send(take: Take, prompts: "queue.SimpleQueue[str]") -> None:
    """The last frames are shown after the take has ended; a prompt has nothing to change then."""
    while not prompts.empty():
        with suppress(ClientError):
            take.prompt(prompts.get())


def _drain(feeder: threading.Thread, frames: "queue.Queue[Image.Image | None]") -> None:
    """A window that was closed early takes nothing any more."""
    until = time.monotonic() + _PATIENCE
    while feeder.is_alive() and time.monotonic() < until:
        feeder.join(0.05)
        while not frames.empty():
            frames.get()


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser(__doc__)
    made.add_argument("--sink", choices=["window", "count"], default="window")
    options = made.parse_args(arguments)
    print(f"{play(options, Window(options.prompt) if options.sink == 'window' else Count())} frames shown")


if __name__ == "__main__":
    main()
