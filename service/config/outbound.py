"""What the service asks of other machines on behalf of clients.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pydantic import BaseModel, Field

from service.config.values import Words


class Outbound(BaseModel):
    """What the service asks of other machines on behalf of clients."""

    outbound_http: bool = Field(False, description="Take URLs with http too, for pictures and webhooks.")
    outbound_networks: Words = Field(
        (),
        description="Private networks that pictures and webhooks may be in all the same (`10.1.0.0/16`, separated by"
        " commas in the environment).",
    )
    outbound_timeout: float = Field(10.0, gt=0, description="Longest time for one picture by URL, or one webhook.")
    outbound_redirects: int = Field(3, ge=0, le=10, description="Redirects that a picture's URL may lead through.")
    webhook_attempts: int = Field(8, ge=1, le=100, description="Times a webhook is tried until it is given up.")
    webhook_delay: float = Field(
        5.0, gt=0, description="Wait before the second try of a webhook; six times as long before each further one."
    )
    webhook_delay_max: float = Field(36000.0, gt=0, description="Longest wait between two tries of a webhook.")
    webhook_parallel: int = Field(4, ge=1, le=64, description="Webhooks that are sent at once.")
    webhook_keep_hours: float = Field(
        72.0, gt=0, description="How long it is kept what became of a webhook, and an old secret counts."
    )
