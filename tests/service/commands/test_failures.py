import pytest

from client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    RequestRefused,
    SessionDrained,
    SessionFailed,
    TakeEndedEarly,
)
from client.report import build_report
from models.errors import EngineError, PresetError, PromptError
from service.commands.failures import ExitCode, describe
from service.commands.options import OptionError
from service.errors import ConfigError, ErrorCode, ProtocolError, ServiceError, WorkerDied
from service.protocol.server import ErrorMessage


def fatal(code: str, message: str) -> SessionFailed:
    return SessionFailed(ErrorMessage(code=code, message=message, retryable=True, fatal=True))


def early(reason: ClientError) -> TakeEndedEarly:
    return TakeEndedEarly(build_report([], fps=16, started=0.0), reason, expected_frames=48)


EARLY = "the take ended early, after 0 of 48 frames"


@pytest.mark.parametrize(
    ("error", "line", "exit_code"),
    [
        (PresetError("no such model", field="model"), "error: model_unknown (model): no such model", 2),
        (PromptError("none\n  there", code="prompt_empty"), "error: prompt_empty: none there", 2),
        (OptionError("expected 1", code="field_range", field="blocks"), "error: field_range (blocks): expected 1", 2),
        (
            ProtocolError(ErrorCode.FIELD_RANGE, "too big", field="quality"),
            "error: field_range (quality): too big",
            2,
        ),
        (RequestRefused("prompt_empty", "nothing", field="prompt"), "error: prompt_empty (prompt): nothing", 2),
        (RequestRefused("rate_limited", "wait"), "error: rate_limited: wait", 1),
        (fatal("capacity", "full"), "error: capacity: full", 1),
        (ConfigError("setting port is 'x'"), "error: config_invalid: setting port is 'x'", 2),
        (ConnectFailed("nobody there"), "error: connect_failed: nobody there", 1),
        (ConnectionLost("it broke"), "error: connection_lost: it broke", 1),
        (WorkerDied("gone"), "error: worker_died: gone", 1),
        (SessionDrained("it goes"), "error: server_draining: it goes", 1),
        (early(fatal("position_limit", "at 9")), f"error: position_limit: {EARLY}: position_limit: at 9", 1),
        (early(ConnectionLost("it broke")), f"error: connection_lost: {EARLY}: it broke", 1),
        (FileNotFoundError(2, "no such folder", "a/b.mp4"), "error: io_error (a/b.mp4): no such folder", 1),
        (OSError("odd"), "error: io_error: odd", 1),
    ],
)
def test_every_refusal_is_one_line(
    error: EngineError | ServiceError | ClientError | OptionError | OSError, line: str, exit_code: int
) -> None:
    failure = describe(error)
    assert failure.line == line
    assert failure.exit_code == ExitCode(exit_code)
