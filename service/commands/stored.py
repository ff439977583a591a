"""What the commands read of a store: a session's document, and its latents as tensors.

Knows files; nothing of engines, SQL or sockets. Invariant: latents that are not there are None, or a
KeyError where an engine asks, which it knows how to tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from models.weights import read_safetensors
from service.commands.options import OptionError
from service.config import load_config, store_folder
from service.latent_files import TENSOR, latent_path, opening_path
from service.store.document import SessionDocument
from service.store.records import ChunkRow, aired_of

Cut = Literal["final", "aired"]


@dataclass(frozen=True, slots=True)
class StoredLatents:
    """The latents of one session's chunks, by their numbers; None for a record without a store."""

    folder: Path | None
    session: str

    def chunk(self, sequence: int) -> Tensor | None:
        return None if self.folder is None else _read(latent_path(self.folder, self.session, sequence=sequence))

    def given(self, block: int) -> Tensor | None:
        """The block that the session was given to begin with."""
        return None if self.folder is None else _read(opening_path(self.folder, self.session, block=block))


@dataclass(frozen=True, slots=True)
class CourseLatents:
    """A LatentSource: the blocks that were made again, then those that the session was given."""

    made: Mapping[int, Tensor]
    stored: StoredLatents

    def __getitem__(self, block: int, /) -> Tensor:
        found = self.made.get(block)
        if found is None:
            found = self.stored.given(block)
        if found is None:
            raise KeyError(block)
        return found


def folder_of(store: Path | None) -> Path:
    """The store that is meant: the one given, else the service's own."""
    return store_folder(load_config({"store_dir": store}))


def check_cut(cut: str) -> Cut:
    """Raises OptionError."""
    if cut not in ("final", "aired"):
        raise OptionError(f"expected final or aired, not {cut!r}", code="field_choice", field="cut")
    return "final" if cut == "final" else "aired"


def chunks_of_cut(document: SessionDocument, cut: Cut) -> tuple[ChunkRow, ...]:
    """The chunks that a video holds, in the order in which it shows them."""
    return document.course if cut == "final" else aired_of(document.chunks, document.events)


def _read(path: Path) -> Tensor | None:
    return read_safetensors(path).tensors[TENSOR] if path.is_file() else None
