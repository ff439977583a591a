"""What a session said lately, in order, for all who listen: each reads it at a pace of its own, or again.

It knows nothing of sockets or of the worker. Invariants: what is said once is kept once, however many listen; it keeps
no more than `seconds` and `max_bytes` of media, but the newest `keep_chunks` chunks always; nobody is given a later
chunk instead of one that is no longer kept without a word.
"""

import itertools
import math
from collections import deque
from dataclasses import dataclass

from service.api.reply import Reply, thin
from service.protocol import encode_message
from service.protocol.client import SlowConsumer
from service.protocol.server import ChunkMetadata, VideoDiscard

_MOST_ENTRIES = 8192


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing said: the reply, its text, and when it was said."""

    reply: Reply
    text: str
    at: float

    @property
    def chunk(self) -> ChunkMetadata | None:
        return self.reply.message if isinstance(self.reply.message, ChunkMetadata) else None


class FellBehind(Exception):
    """What comes next is no longer kept."""


class Replay:
    """Places are counted from the first thing ever said; `floor` is the oldest that is kept, `head` the next one.

    `first` is the number of the first chunk that is to come.
    """

    def __init__(self, *, seconds: float, max_bytes: int, keep_chunks: int, first: int = 0) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._keep_chunks = keep_chunks
        self._entries: deque[Entry | None] = deque()
        self._chunks = 0
        self._newest_chunk = -1
        self._gone = first - 1
        """The last chunk that is not kept; what was taken back counts with what told so."""
        self._whole_from = 0
        """Chunks before this place have lost their frames."""
        self.floor = 0
        self.bytes = 0
        self.media_seconds = 0.0
        self.ended = False

    @property
    def head(self) -> int:
        return self.floor + len(self._entries)

    @property
    def newest_chunk(self) -> int:
        """The place of the newest chunk; -1 without one."""
        return self._newest_chunk

    def say(self, reply: Reply, now: float) -> None:
        """Appends a message. One with a close code is the last word: nothing comes after it."""
        if self.ended:
            return
        entry = Entry(reply, encode_message(reply.message), now)
        self.ended = reply.close is not None
        if entry.chunk is not None:
            self._newest_chunk = self.head
            self._count(entry, 1)
        self._entries.append(entry)
        self._trim(now)

    def discard(self, from_sequence: int) -> None:
        """Takes out the chunks from this number on, for those who have not read them yet."""
        for index, entry in enumerate(self._entries):
            if entry is not None and entry.chunk is not None and entry.chunk.sequence >= from_sequence:
                self._entries[index] = None
                if entry.chunk.num_frames:
                    self._count(entry, -1)
        places = (self.floor + index for index, entry in enumerate(self._entries) if entry and entry.chunk)
        self._newest_chunk = max(places, default=-1)

    def at(self, place: int) -> Entry | None:
        """What was said there; None where it was taken out."""
        return self._entries[place - self.floor]

    def after(self, sequence: int) -> int:
        """The place behind chunk `sequence`, or behind those before it, from which all chunks are whole."""
        for index in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[index]
            if entry is not None and entry.chunk is not None and entry.chunk.sequence <= max(sequence, self._gone):
                return self.floor + index + 1
        return self.floor

    def reaches(self, sequence: int) -> bool:
        """Whether all that came after chunk `sequence` is here."""
        return sequence >= self._gone

    def first_chunk_from(self, place: int) -> int | None:
        """The number of the first chunk at `place` or behind it."""
        for entry in itertools.islice(self._entries, max(place - self.floor, 0), None):
            if entry is not None and entry.chunk is not None:
                return entry.chunk.sequence
        return None

    def _trim(self, now: float) -> None:
        """What is too old goes; of what is too much, the oldest chunks lose their frames."""
        while self._entries:
            entry = self._entries[0]
            is_chunk = entry is not None and entry.chunk is not None
            too_old = entry is None or entry.at < now - self._seconds or len(self._entries) > _MOST_ENTRIES
            if not too_old or (is_chunk and self._chunks <= self._keep_chunks):
                break
            self._entries.popleft()
            self.floor += 1
            if entry is not None:
                self._let_go(entry)
        self._whole_from = max(self._whole_from, self.floor)
        while self.bytes > self._max_bytes and self._chunks > self._keep_chunks:
            index, self._whole_from = self._whole_from - self.floor, self._whole_from + 1
            entry = self._entries[index]
            if entry is not None and entry.chunk is not None:
                self._let_go(entry)
                self._entries[index] = thinned(entry)

    def _let_go(self, entry: Entry) -> None:
        message = entry.reply.message
        if isinstance(message, ChunkMetadata):
            self._gone = max(self._gone, message.sequence)
            if message.num_frames:
                self._count(entry, -1)
        elif isinstance(message, VideoDiscard):
            self._gone = max(self._gone, message.next_sequence - 1)

    def _count(self, entry: Entry, sign: int) -> None:
        assert entry.chunk is not None
        self._chunks += sign
        self.bytes += sign * len(entry.reply.payload or b"")
        self.media_seconds += sign * entry.chunk.num_frames / entry.chunk.fps


class Feed:
    """One listener's way through a replay, from `place` on. With `drop` it thins what is no longer the newest."""

    def __init__(self, replay: Replay, place: int, *, policy: SlowConsumer) -> None:
        self._replay = replay
        self._place = place
        # What was missed before it came is owed whole, whatever the policy.
        self._thin_from = replay.head if policy == "drop" else math.inf
        self._live_from = 0

    def take(self) -> Entry | None:
        """The next thing; None where nothing waits. Raises FellBehind."""
        replay = self._replay
        while self._place < replay.head:
            if self._place < replay.floor:
                raise FellBehind
            place, entry = self._place, replay.at(self._place)
            self._place += 1
            if entry is None:
                continue
            return thinned(entry) if entry.chunk is not None and self._is_late(place) else entry
        return None

    def seek_live(self) -> int | None:
        """Passes over the frames of what waits, but the newest chunk's. The number of that chunk, if one waits."""
        newest = self._replay.newest_chunk
        if newest < self._place:
            return None
        entry = self._replay.at(newest)
        assert entry is not None, "a chunk's place has a chunk"
        assert entry.chunk is not None, "a chunk's place has a chunk"
        self._live_from = newest
        return entry.chunk.sequence

    @property
    def empty(self) -> bool:
        return self._place >= self._replay.head

    def waiting(self) -> tuple[Entry, ...]:
        """The chunks that wait with their bytes, the oldest first."""
        replay = self._replay
        places = range(max(self._place, replay.floor), replay.head)
        entries = (replay.at(place) for place in places if not self._is_late(place))
        return tuple(entry for entry in entries if entry is not None and entry.chunk is not None)

    def _is_late(self, place: int) -> bool:
        """A chunk there would be sent without its frames."""
        return self._thin_from <= place < self._replay.newest_chunk or place < self._live_from


def thinned(entry: Entry) -> Entry:
    """A chunk without its frames."""
    reply = thin(entry.reply)
    return Entry(reply, encode_message(reply.message), entry.at)
