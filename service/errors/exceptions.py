"""The exceptions that the service raises on purpose: one tree.

It knows codes and nothing of how an error is sent.

    ServiceError                 anything this service raises on purpose
    |-- ProtocolError            a message that cannot be accepted: code, field, what was expected
    |-- ConfigError              a setting that is unknown or out of range
    |-- SessionError             one session cannot go on; the others do
    |   `-- CapacityError        there is no place for another session now
    `-- WorkerError              the engine process is at fault
        |-- WorkerUnavailable    it is not ready: starting, draining or gone
        `-- WorkerDied           it ended or fell silent while sessions were running
"""

from service.errors.codes import ErrorCode


class ServiceError(Exception):
    """Base of everything the service raises on purpose."""


class ProtocolError(ServiceError, ValueError):
    """A message that cannot be accepted.

    Args:
        code: what is wrong, as a stable word.
        message: one sentence for a person.
        field: where it is wrong (`prompts.0.weight`), "" for the message as a whole.
        expected: what would have been right, "" where there is nothing to say.
        event_id: the interaction it belongs to, as far as that could be read.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, field: str = "", expected: str = "", event_id: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.expected = expected
        self.event_id = event_id


class ConfigError(ServiceError, ValueError):
    """A setting that is unknown, of the wrong type or out of range; the message names it."""

    code = ErrorCode.CONFIG_INVALID


class SessionError(ServiceError):
    """One session cannot start or go on; `code` says why."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CapacityError(SessionError):
    """There is no place for another session now."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.CAPACITY, message)


class WorkerError(ServiceError):
    """The engine process is at fault, not the request."""


class WorkerUnavailable(WorkerError):
    """The engine is not ready: starting, draining or gone."""


class WorkerDied(WorkerError):
    """The engine ended, or fell silent, while sessions were running."""
