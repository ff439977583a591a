"""How many chunks of a session may be under way between the worker and whoever paces it.

It knows numbers only. Invariant: a chunk is credited once, however many listen to it or hear it again, and over
restarts of the worker too.
"""


class Credits:
    """`total` chunks may be sent that nobody has taken; chunk `first` is the first to come."""

    def __init__(self, total: int, *, first: int = 0) -> None:
        self.total = total
        self._credited = first
        """The number of the first chunk that is not credited."""

    def taken(self, sequence: int) -> int:
        """Chunks up to this one are taken: how many more the worker may send."""
        credits = max(sequence + 1 - self._credited, 0)
        self._credited += credits
        return credits

    def free(self, next_sequence: int) -> int:
        """What a new worker may send, where chunk `next_sequence` is the next."""
        return max(self.total - (next_sequence - self._credited), 0)
