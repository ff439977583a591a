"""The blocks of one session's video as it stands: which chunk each left as, where it ends, and under which prompts.

Integers and names only; knows nothing of tensors, clocks or messages. Invariant: block b of the video is entry b, so
going back is forgetting the entries from there on, and the place of a block in the video follows from those before it.
"""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A block that was made. `end`: frames of the video up to its end."""

    sequence: int
    end: int
    event_ids: tuple[str, ...]


class History:
    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        """The number of the next block."""
        return len(self._entries)

    def __getitem__(self, block: int) -> Entry:
        return self._entries[block]

    @property
    def frames(self) -> int:
        return self._entries[-1].end if self._entries else 0

    @property
    def event_ids(self) -> tuple[str, ...] | None:
        """What the last block was made under; None where there is none."""
        return self._entries[-1].event_ids if self._entries else None

    def append(self, sequence: int, *, frames: int, event_ids: tuple[str, ...]) -> None:
        self._entries.append(Entry(sequence, self.frames + frames, event_ids))

    def cut(self, block: int) -> None:
        """Forget `block` and all after it."""
        del self._entries[block:]

    def begin(self, block: int) -> int:
        """Frames of the video before `block`."""
        return self._entries[block - 1].end if block > 0 else 0

    def after(self, frames: float) -> int:
        """The first block that begins at or behind this place, given in frames; at most the next block."""
        if frames <= 0:
            return 0
        on_screen = bisect_right(self._entries, frames, key=lambda entry: entry.end)
        if on_screen >= len(self):
            return len(self)
        return on_screen if self.begin(on_screen) >= frames else on_screen + 1
