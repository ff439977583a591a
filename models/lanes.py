"""Where a block is decoded: in its place, or on a CUDA stream of its own beside the block's clean pass.

Both compute the same bits: what runs beside each other shares no memory that either writes, and events keep the order.
The stream of its own comes first where both want the device, so that a block leaves no later. The next block's passes
do not begin before: a block whose frames are faulty is made again from the window as it was. Knows no model.
Never run on a GPU so far.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Begun = TypeVar("Begun")
Done = TypeVar("Done")


class Lane(Protocol):
    """One way of doing two things that do not depend on each other."""

    def run(
        self,
        begin: Callable[[], Begun],
        finish: Callable[[Begun], Done],
        *,
        meanwhile: Callable[[], None],
        reads: Sequence[Tensor],
    ) -> Done:
        """What `finish` makes of what `begin` gave.

        Args:
            begin: gives work to the device.
            finish: waits for it.
            meanwhile: work for the device that may be done between the two; whoever calls finds out whether it was.
            reads: all tensors that `begin` reads.
        """
        ...


class InPlace:
    """One after the other, and what may wait is left to its owner: the way of a CPU."""

    def run(
        self,
        begin: Callable[[], Begun],
        finish: Callable[[Begun], Done],
        *,
        meanwhile: Callable[[], None],
        reads: Sequence[Tensor],
    ) -> Done:
        del meanwhile, reads
        return finish(begin())


class CudaLane:
    """On a stream of its own, of high priority."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device, priority=-1)

    def run(
        self,
        begin: Callable[[], Begun],
        finish: Callable[[Begun], Done],
        *,
        meanwhile: Callable[[], None],
        reads: Sequence[Tensor],
    ) -> Done:
        main, own = torch.cuda.current_stream(), self._stream
        own.wait_stream(main)
        for tensor in reads:
            # Memory of the other stream is not to be given away while this one reads it.
            tensor.record_stream(own)
        with torch.cuda.stream(own):
            begun = begin()
            there = own.record_event()
        meanwhile()
        with torch.cuda.stream(own):
            done = finish(begun)
        # What was made here may be read there from now on.
        main.wait_event(there)
        return done
