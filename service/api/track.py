"""The course of a live session: which chunk shows each block of its video as it stands.

It knows numbers and seconds only. Invariant: block b is shown by row b; a chunk of block b takes the place of all
from b on, as in the store.
"""

from collections.abc import Iterable

from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionControl, SessionFork
from service.store.records import ChunkRow


class Track:
    def __init__(self, rows: Iterable[ChunkRow] = ()) -> None:
        self._rows = list(rows)
        self._event_ids: list[tuple[str, ...]] = [()] * len(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def event_ids(self) -> tuple[str, ...]:
        """The interactions that the last block was made under, as far as they were said here."""
        return self._event_ids[-1] if self._event_ids else ()

    def append(self, row: ChunkRow, event_ids: tuple[str, ...] = ()) -> None:
        """A chunk came. Raises ValueError if there is a gap before its block."""
        if not 0 <= row.block <= len(self._rows):
            raise ValueError(f"expected a chunk of a block up to {len(self._rows)}, got {row.block}")
        self.cut(row.block)
        self._rows.append(row)
        self._event_ids.append(event_ids)

    def cut(self, block: int) -> None:
        """What was made from `block` on is taken back."""
        del self._rows[block:]
        del self._event_ids[block:]

    def block_at(self, place: SessionControl | SessionFork, *, fps: float) -> int:
        """The first block that is to be made anew; the next one where the message names no place.

        Raises:
            ProtocolError: the video as it stands has no such chunk or second.
        """
        event_id = place.event_id or ""
        if place.sequence is not None:
            for row in reversed(self._rows):
                if row.sequence == place.sequence:
                    return row.block
            raise self._no_such("sequence", f"chunk {place.sequence}", event_id)
        if place.seconds is None:
            return len(self._rows)
        shown = 0
        for row in self._rows:
            shown += row.frames
            if place.seconds < shown / fps:
                return row.block
        raise self._no_such("seconds", f"second {place.seconds:g}", event_id)

    def _no_such(self, field: str, what: str, event_id: str) -> ProtocolError:
        return ProtocolError(
            ErrorCode.FORK_POINT_INVALID,
            f"The video as it stands has no {what}.",
            field=field,
            expected=f"a place in its {len(self._rows)} blocks",
            event_id=event_id,
        )
