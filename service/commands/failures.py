"""What a command says and returns when something was refused or failed.

Knows the error trees of the engine, the service and the client; prints nothing. Invariant: every refusal has one
line, `error: CODE (field): message`, with the code under which the same refusal is known on the wire.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from client.errors import ClientError, RequestRefused, SessionDrained, SessionFailed, TakeEndedEarly
from models.errors import EngineError
from models.transport import FetchError
from service.commands.options import OptionError
from service.errors import ConfigError, ErrorCode, ProtocolError, ServiceError, SessionError, facts_of


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    """It was asked for correctly and could not be done."""
    BAD_INPUT = 2
    """What was asked for cannot be right; the same as typer's own for a wrong option."""
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    line: str
    exit_code: ExitCode


def describe(error: EngineError | ServiceError | ClientError | OptionError | OSError) -> Failure:
    """The line and the exit code of an error."""
    match error:
        case FetchError():
            return _failure(error.code, error.field, str(error), exit_code=ExitCode.FAILED)
        case EngineError() | OptionError():
            return _failure(error.code, error.field, str(error))
        case ProtocolError() | RequestRefused() | SessionFailed():
            return _failure(error.code, error.field, error.message, exit_code=_exit_code(error.code))
        case SessionError():
            return _failure(error.code, None, error.message, exit_code=_exit_code(error.code))
        case ConfigError():
            return _failure(error.code, None, str(error))
        case TakeEndedEarly():
            return _failure(describe(error.reason).code, None, str(error), exit_code=ExitCode.FAILED)
        case SessionDrained():
            return _failure(ErrorCode.SERVER_DRAINING, None, str(error), exit_code=ExitCode.FAILED)
        case ServiceError() | ClientError():
            return _failure(_words(type(error).__name__), None, str(error), exit_code=ExitCode.FAILED)
        case OSError():
            message = error.strerror or str(error)
            return _failure("io_error", _name(error.filename), message, exit_code=ExitCode.FAILED)


def _failure(code: str, field: str | None, message: str, *, exit_code: ExitCode = ExitCode.BAD_INPUT) -> Failure:
    where = f" ({field})" if field else ""
    one_line = " ".join(message.split())
    return Failure(code, f"error: {code}{where}: {one_line}", exit_code)


def _exit_code(code: str) -> ExitCode:
    """The input is at fault where HTTP would say so too, and asking again does not help."""
    facts = facts_of(code)
    return ExitCode.BAD_INPUT if facts.http_status < 500 and not facts.retryable else ExitCode.FAILED


def _words(name: str) -> str:
    """ConnectionLost -> connection_lost"""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _name(filename: object) -> str | None:
    return None if filename is None else str(filename)
