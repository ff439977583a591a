"""Bytes that a process has allocated and not freed, as the C library counts them (glibc's mallinfo2).

Resident memory also holds what was freed and kept for later; with threads that come and go it grows for a long time
although nothing is lost. Invariant: after `one_arena` the count is of all threads. Linux with glibc only.
"""

import ctypes
import gc

M_ARENA_MAX = -8
"""From <malloc.h>."""


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def one_arena() -> None:
    """Call it before threads are started: the C library counts the main arena only, so there has to be no other."""
    if ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1) != 1:
        raise OSError("the C library takes no limit of arenas")


def allocated_bytes() -> int:
    """In use on the heap and in mapped blocks, once what Python can collect is collected."""
    gc.collect()
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _Mallinfo2
    said = library.mallinfo2()
    return int(said.uordblks) + int(said.hblkhd)
