"""Where the service listens, and from which pages it takes connections.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from typing import Literal

from pydantic import BaseModel, Field

from service.config.values import Words


class Listening(BaseModel):
    """Where the service listens, and from which pages it takes connections."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_origins: Words = Field(
        (),
        description="Origins of pages, besides the service's own, that may open the WebSocket"
        " (`https://example.org`, separated by commas in the environment).",
    )
    missing_origin: Literal["loopback", "allow"] = Field(
        "loopback",
        description="Who may open the WebSocket without an Origin, as programs do:"
        " those on this machine (`loopback`), or everybody (`allow`).",
    )
