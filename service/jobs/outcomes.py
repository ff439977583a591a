"""How an attempt at a job can end, and what a failure means for the job: its own end, or another try.

Knows codes only. Invariant: what is the machine's trouble (no room, no engine, no disk) is never the job's failure.
"""

from dataclasses import dataclass

from service.errors import ErrorCode, SessionError
from service.jobs.values import JobFailure

# With these the same job may well succeed later; other codes are the job's own fault, or the engine's with it.
_PASSING = frozenset(
    {
        ErrorCode.STORE_FAILED,
        ErrorCode.DISK_FULL,
        ErrorCode.CAPACITY,
        ErrorCode.SESSION_ALREADY_STARTED,  # the engine has not let go of the last attempt's session yet
        ErrorCode.WORKER_UNAVAILABLE,
        ErrorCode.WORKER_DIED,
        ErrorCode.WORKER_STALLED,
        ErrorCode.SERVER_DRAINING,
        ErrorCode.OUT_OF_MEMORY,
        ErrorCode.ADAPTERS_UNAVAILABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for is there."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot be made."""

    failure: JobFailure


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker ended while it made the job."""

    message: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something stands in the way that is not the job's."""

    failure: JobFailure


@dataclass(frozen=True, slots=True)
class Released:
    """Its place was wanted back; nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Another attempt has the job, or it was cancelled or deleted."""


Outcome = Done | Failed | Lost | Trouble | Released | Stale


def trouble_of(error: SessionError | OSError, *, code: str | None = None) -> Outcome:
    """What an error means. `code`: the engine's, where the error has its words only."""
    if isinstance(error, OSError):
        return Trouble(JobFailure(ErrorCode.STORE_FAILED, f"a file cannot be written or read: {error}"))
    failure = JobFailure(error.code if code is None else code, error.message)
    return Trouble(failure) if failure.code in _PASSING else Failed(failure)
