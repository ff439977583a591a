"""The latents of one session's blocks: kept in memory until they are in their file, read from there afterwards.

Knows files and tensors; nothing of engines or of who asks. Invariants: a block can be read from the moment it was made,
and a file that has its name is whole; what the disk does not take now waits in the host's memory, in order.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.errors import RestoreError, WeightsError
from models.weights import read_safetensors, write_safetensors
from service.latent_files import TENSOR, latent_path, opening_path, session_folder, thumbnail_path
from service.worker.history import History

logger = logging.getLogger(__name__)


class LatentFiles:
    """`keep` and reading belong to the engine thread, `store` and `put_off` to an encoder thread.

    `room`: bytes that may wait for the disk before it is full.
    """

    def __init__(self, root: Path, session: str, *, room: int = 1 << 62) -> None:
        self._root = root
        self._session = session
        self._room = room
        self._unstored: dict[int, Tensor] = {}
        self._late: dict[int, Tensor] = {}
        self._late_bytes = 0
        self._turn = threading.Lock()

    def keep(self, sequence: int, latents: Tensor) -> None:
        """Take the latents of a chunk that is on its way to its file."""
        self._unstored[sequence] = latents

    def store(self, sequence: int) -> None:
        """Write the file of a chunk that was kept. Raises OSError."""
        self._write(latent_path(self._root, self._session, sequence=sequence), self._unstored[sequence])
        del self._unstored[sequence]

    def put_off(self, sequence: int) -> None:
        """The disk does not take it now: it waits for `store_late`."""
        latents = self._unstored[sequence].to("cpu")
        with self._turn:
            self._late[sequence] = self._unstored[sequence] = latents
            self._late_bytes += latents.nbytes

    @property
    def late(self) -> int:
        """How many wait for the disk."""
        return len(self._late)

    @property
    def full(self) -> bool:
        """No more should be made before the disk takes some."""
        return self._late_bytes >= self._room

    def store_late(self, tell: Callable[[int], None]) -> None:
        """Write what waits, in order, up to the first that cannot be written now; each is told of before the next."""
        with self._turn:
            for sequence in sorted(self._late):
                try:
                    self._write(latent_path(self._root, self._session, sequence=sequence), self._late[sequence])
                except OSError as error:
                    logger.debug("the latents of chunk %d still wait: %s", sequence, error)
                    break
                self._late_bytes -= self._late.pop(sequence).nbytes
                del self._unstored[sequence]
                tell(sequence)

    def give_up(self) -> None:
        """What still waits is never written."""
        with self._turn:
            self._late.clear()

    @property
    def thumbnail(self) -> Path:
        """Where the session's still belongs, in the folder that `store` makes."""
        return thumbnail_path(self._root, self._session)

    def store_opening(self, blocks: Iterable[Tensor]) -> None:
        """Write the blocks that the session was given to begin with. Raises OSError."""
        for block, latents in enumerate(blocks):
            self._write(opening_path(self._root, self._session, block=block), latents)

    def read(self, sequence: int) -> Tensor:
        """Raises KeyError where there is no file, RestoreError where it is damaged."""
        kept = self._unstored.get(sequence)
        return kept if kept is not None else _read(latent_path(self._root, self._session, sequence=sequence))

    def read_opening(self, block: int) -> Tensor:
        return _read(opening_path(self._root, self._session, block=block))

    def _write(self, path: Path, latents: Tensor) -> None:
        session_folder(self._root, self._session).mkdir(parents=True, exist_ok=True)
        write_safetensors(path, {TENSOR: latents.to("cpu")}, {})  # whole or not at all


@dataclass(frozen=True, slots=True)
class CourseLatents:
    """A LatentSource: the blocks of the video as it stands."""

    files: LatentFiles
    history: History

    def __getitem__(self, block: int, /) -> Tensor:
        if not 0 <= block < len(self.history):
            raise KeyError(block)
        return self.files.read(self.history[block].sequence)


@dataclass(frozen=True, slots=True)
class OpeningLatents:
    """A LatentSource: the blocks that the session was given, shown or not; a cut may have taken the place of some."""

    files: LatentFiles

    def __getitem__(self, block: int, /) -> Tensor:
        return self.files.read_opening(block)


def _read(path: Path) -> Tensor:
    if not path.is_file():
        raise KeyError(path.name)
    try:
        return read_safetensors(path).tensors[TENSOR]
    except WeightsError as error:
        raise RestoreError(f"latents cannot be read: {error}", field="latents") from error
