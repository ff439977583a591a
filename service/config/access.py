"""Who may use the service, and what one key may have at once.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Access(BaseModel):
    """Who may use the service, and what one key may have at once."""

    authentication: Literal["off_loopback", "always", "none_anybody_may_do_anything"] = Field(
        "off_loopback",
        description="Where a key is asked for: on every address but those of the loopback (`off_loopback`), everywhere"
        " (`always`, for one behind a proxy on the same machine), or nowhere (`none_anybody_may_do_anything`).",
    )
    open_metrics: bool = Field(False, description="`/metrics` needs no key where all else does.")
    token_seconds: float = Field(
        60.0, gt=0, le=3600, description="How long a token that opens one WebSocket waits for its use."
    )
    media_token_seconds: float = Field(
        3600.0, gt=0, le=86400, description="How long a token that opens the address of a file is good."
    )
    max_tokens: int = Field(256, ge=1, le=65536, description="Tokens of one key that are good at the same time.")
    max_requests_per_key: int = Field(
        128, ge=1, le=65536, description="Requests and WebSockets of one key that are under way at once."
    )
    usage_interval: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="Time between two writes of what keys have used, and two looks at whether those that are connected"
        " are still good.",
    )
