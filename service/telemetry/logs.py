"""The log: lines for people, or one JSON object a line.

It knows the standard library's logging and the ids that are bound. Invariants: a line is one line, whatever is in the
message; nothing but what was said and the ids is written.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from service.telemetry.ids import TRACEPARENT, bound, trace_id_of

LogFormat = Literal["text", "json"]
ACCESS = "longtake.access"
"""The logger that says every request."""


def configure_logs(format: LogFormat, *, level: str = "info", process: str, stream: TextIO | None = None) -> None:
    """The log of this process, to standard error unless told otherwise. It takes the place of the one before."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines(process) if format == "json" else TextLines(process))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, TextLines | JsonLines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger(ACCESS).setLevel(logging.NOTSET if format == "json" else logging.WARNING)


class TextLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s {process} %(name)s %(levelname)s %(message)s")


class JsonLines(logging.Formatter):
    """What was said, when, by whom, and the ids; fields given as `extra={"fields": {...}}` beside them."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        ids = dict(bound())
        trace = trace_id_of(ids.pop(TRACEPARENT, ""))
        said |= ids | ({"trace_id": trace} if trace else {})
        said |= getattr(record, "fields", {})
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)
