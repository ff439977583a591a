"""What the service tells those who run it.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Observing(BaseModel):
    """What the service tells those who run it."""

    log_format: Literal["text", "json"] = Field(
        "text",
        description="How the log is written: lines for people, or one JSON object a line, with ids and every request.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is worth a line.")
    log_prompts: bool = Field(False, description="Write prompts into the log; they are their authors' affair.")
    telemetry_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where traces are sent, by OTLP over HTTP (`http://collector:4318`); wants the extra `telemetry`"
        " (none: nowhere).",
    )
    telemetry_share: float = Field(
        1.0, ge=0, le=1, description="Share of traces that are sent, of those that no caller has decided about."
    )
