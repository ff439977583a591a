"""What can go wrong with jobs, as errors with codes.

Knows the registry of codes only; nothing of SQL or files. Invariant: a job of another tenant is unknown, in the same
words as one that never was.
"""

from service.errors import ErrorCode, SessionError


class JobError(SessionError):
    """Something is wrong with a job or with what is asked of it; `code` says what."""


class JobUnknown(JobError):
    def __init__(self, job: str) -> None:
        super().__init__(ErrorCode.VIDEO_UNKNOWN, f"there is no video {job[:128]!r}, or it is no longer kept")


class BatchUnknown(JobError):
    def __init__(self, batch: str) -> None:
        super().__init__(ErrorCode.BATCH_UNKNOWN, f"there is no batch {batch[:128]!r}")


class NotReady(JobError):
    """Its files are not made yet, or never will be."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.VIDEO_NOT_READY, message)


class MediaExpired(JobError):
    def __init__(self, job: str) -> None:
        super().__init__(ErrorCode.VIDEO_EXPIRED, f"the files of video {job} are deleted")


class IdempotencyConflict(JobError):
    def __init__(self) -> None:
        message = "the Idempotency-Key was used for another request; take a new key for a new request"
        super().__init__(ErrorCode.IDEMPOTENCY_CONFLICT, message)


class QueueFull(JobError):
    def __init__(self, limit: int) -> None:
        super().__init__(ErrorCode.QUEUE_FULL, f"expected at most {limit} jobs that wait")


class DiskFull(JobError):
    def __init__(self, free: int, *, floor: int) -> None:
        super().__init__(ErrorCode.DISK_FULL, f"the disk has {free} bytes left, less than the floor of {floor}")


class StaleAttempt(JobError):
    """An attempt that is not the job's present one has something to say: nobody hears it."""

    def __init__(self, job: str, attempt: int) -> None:
        super().__init__(ErrorCode.ATTEMPT_STALE, f"attempt {attempt} of video {job} is not the present one")
