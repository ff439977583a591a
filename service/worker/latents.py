"""The latents of one session's blocks: kept in memory until they are in their file, read from there afterwards.

Knows files and tensors; nothing of engines or of who asks. Invariant: a block can be read from the moment it was made,
and a file that has its name is whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.errors import RestoreError, WeightsError
from models.weights import read_safetensors, write_safetensors
from service.latent_files import TENSOR, latent_path, opening_path, session_folder, thumbnail_path
from service.worker.history import History


class LatentFiles:
    """`keep` and reading belong to the engine thread, `store` to an encoder thread."""

    def __init__(self, root: Path, session: str) -> None:
        self._root = root
        self._session = session
        self._unstored: dict[int, Tensor] = {}

    def keep(self, sequence: int, latents: Tensor) -> None:
        """Take the latents of a chunk that is on its way to its file."""
        self._unstored[sequence] = latents

    def store(self, sequence: int) -> None:
        """Write the file of a chunk that was kept. Raises OSError."""
        self._write(latent_path(self._root, self._session, sequence=sequence), self._unstored[sequence])
        del self._unstored[sequence]

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
