"""What a request may be before anybody has looked at who sent it: sockets, heads, bodies, and their time.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field


class Reception(BaseModel):
    """What a request may be before anybody has looked at who sent it."""

    max_sockets: int = Field(
        1024,
        ge=8,
        le=65536,
        description="TCP connections at once; where there are more, the one that has waited longest for a request, of"
        " those of the address that has the most, is closed.",
    )
    max_sockets_per_address: int = Field(
        512,
        ge=1,
        le=65536,
        description="TCP connections of one address at once; to be raised behind a proxy, which is one address.",
    )
    max_head_bytes: int = Field(16384, ge=1024, le=1048576, description="Longest head of a request.")
    max_headers: int = Field(100, ge=8, le=1000, description="Most headers of a request.")
    max_body_bytes: int = Field(
        1024**2, ge=1024, description="Longest body of a request, where its route names no other limit."
    )
    body_timeout: float = Field(10.0, gt=0, description="Wait for the body of a request, whatever its length.")
    body_rate: float = Field(
        16384.0, gt=0, description="Bytes per second that a body has to arrive with, on average, after that time."
    )
