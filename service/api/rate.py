"""A token bucket: how many messages may come now, and how long until the next may.

It knows nothing of messages or time: the caller says what time it is. Invariant: over any span of t
seconds at most `burst + rate * t` messages are let through.
"""


class TokenBucket:
    """Holds up to `burst` tokens and gains `rate` of them per second."""

    def __init__(self, rate: float, burst: int, *, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at = now

    def take(self, now: float) -> float:
        """Takes a token and returns 0; without one, takes nothing and returns the seconds until there is."""
        gained = max(now - self._filled_at, 0.0) * self._rate
        self._tokens = min(self._tokens + gained, self._burst)
        self._filled_at = max(now, self._filled_at)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate
