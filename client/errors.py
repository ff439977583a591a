"""Everything the client can raise, as one tree. Knows nothing of sockets.

    ClientError
    |-- ClientStateError     a call that makes no sense now, for example a prompt before start
    |-- ConnectFailed        no WebSocket came about; there may be no server at the address
    |-- ConnectionLost       the connection ended without `session.done` or a fatal error
    |-- WaitTimeout          nothing came within the stated time (also a TimeoutError)
    |-- ProtocolViolation    the server sent what the protocol forbids
    |-- RequestRefused       the server refused one request; the session goes on
    |   `-- PromptSuperseded     a newer prompt took this one's place before it was applied
    |-- VideoFailed          a job ended without its video
    |-- SessionEnded         the session ended, as asked, before what was waited for came
    |-- SessionFailed        the server ended the session with a fatal error
    |-- SessionDrained       the server shut down, and ended the session in order
    `-- TakeEndedEarly       a take that was recorded is shorter than asked; its report is in it

Invariant: an error that the server reported carries the server's stable `code`.
"""

from client.report import StreamReport
from service.protocol.server import ErrorMessage, InteractionRejected


class ClientError(Exception):
    """Base of everything the client raises on purpose."""


class ClientStateError(ClientError):
    """A call that makes no sense in the session's present state."""


class ConnectFailed(ClientError):
    """No WebSocket connection came about."""


class ConnectionLost(ClientError):
    """The connection ended without a terminal message.

    Args:
        close_code: the WebSocket close code, None if the connection broke without one.
    """

    def __init__(self, message: str, *, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class WaitTimeout(ClientError, TimeoutError):
    """Nothing came within the stated time."""


class ProtocolViolation(ClientError):
    """The server sent what the protocol forbids."""


class RequestRefused(ClientError):
    """The server refused one request; everything else goes on."""

    def __init__(self, code: str, message: str, *, field: str | None = None, expected: str | None = None) -> None:
        super().__init__(_sentence(code, message, field, expected))
        self.retryable = False
        self.retry_after: float | None = None
        self.code = code
        self.message = message
        self.field = field
        self.expected = expected

    @classmethod
    def from_message(cls, message: ErrorMessage | InteractionRejected) -> "RequestRefused":
        """The refusal that a message of the server states."""
        expected = message.expected if isinstance(message, ErrorMessage) else None
        return cls(message.code, message.message, field=message.field, expected=expected)


class PromptSuperseded(RequestRefused):
    """A newer prompt took this one's place before it was applied."""

    def __init__(self, by: str) -> None:
        super().__init__("superseded", f"prompt {by!r} took its place before its block came")
        self.by = by


class VideoFailed(ClientError):
    """A job ended without its video: it failed with the server's `code`, or was cancelled (`cancelled`)."""

    def __init__(self, video: str, code: str, *, message: str) -> None:
        super().__init__(f"video {video}: {code}: {message}")
        self.video = video
        self.code = code
        self.message = message


class SessionEnded(ClientError):
    """The session ended, as asked, before what was waited for came."""


class SessionFailed(ClientError):
    """The server ended the session with a fatal error.

    `retryable` says whether the same request may work later, `retry_after` after how many seconds.
    """

    def __init__(self, message: ErrorMessage) -> None:
        super().__init__(_sentence(message.code, message.message, message.field, message.expected))
        self.code = message.code
        self.message = message.message
        self.field = message.field
        self.expected = message.expected
        self.retryable = message.retryable
        self.retry_after = message.retry_after


class SessionDrained(ClientError):
    """The server shut down and ended the session, with its journal, before its time."""


class TakeEndedEarly(ClientError):
    """A take came to an end that was not asked for. What came of it is in its files, and in `report`.

    `reason` says why: the session's error, or SessionDrained.
    """

    def __init__(self, report: StreamReport, reason: ClientError, *, expected_frames: int) -> None:
        super().__init__(f"the take ended early, after {report.frames} of {expected_frames} frames: {reason}")
        self.report = report
        self.reason = reason


def _sentence(code: str, message: str, field: str | None, expected: str | None) -> str:
    where = f" [{field}]" if field else ""
    wanted = f" (expected {expected})" if expected else ""
    return f"{code}{where}: {message}{wanted}"
