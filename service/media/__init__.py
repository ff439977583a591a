"""Media as they go over the wire and into files: H.264 fragments, and films that are made of them.

Knows PyAV, numpy and the boxes of an MP4 file; nothing of sessions, sockets or tensors, so that the worker, the jobs
and the client share it. Invariant: a frame's time stamp is exactly its number divided by the rate, also in the file.
"""

from service.media.boxes import Box, BoxError, boxes_in, find_box
from service.media.film import Chapter, FilmError, FilmNotes, finish_film, provenance, remux
from service.media.fragments import (
    FragmentError,
    FragmentFacts,
    InitSegment,
    decode_fragment,
    encode_fragment,
    fragment_facts,
    init_segment,
    shifted,
)
from service.media.marks import Mark, draw_marks, read_mark

__all__ = [
    "Box",
    "BoxError",
    "Chapter",
    "FilmError",
    "FilmNotes",
    "FragmentError",
    "FragmentFacts",
    "InitSegment",
    "Mark",
    "boxes_in",
    "decode_fragment",
    "draw_marks",
    "encode_fragment",
    "find_box",
    "finish_film",
    "fragment_facts",
    "init_segment",
    "provenance",
    "read_mark",
    "remux",
    "shifted",
]
