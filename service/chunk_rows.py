"""A chunk of the worker as the store keeps it, for all who write some: live sessions and batch jobs.

It knows what the worker says and the store's values; nothing of SQL, messages or files. Invariant: a row is made of its
chunk alone.
"""

from service import ipc
from service.store.records import ChunkRow


def row_of(chunk: ipc.Chunk) -> ChunkRow:
    """What is stored of it, beside its latents and events."""
    return ChunkRow(
        sequence=chunk.sequence,
        take=chunk.take,
        block=chunk.block,
        attempt=chunk.attempt,
        frames=len(chunk.frames),
        pts=chunk.pts,
        frames_sha256=chunk.frames_sha256,
    )
