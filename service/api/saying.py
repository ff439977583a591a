"""Prompts in the log, where those who run the service want them there.

It knows the setting and what messages ask for. Invariant: without the setting no prompt is written anywhere but
into the session's own record.
"""

import logging

from service.config import ServiceConfig
from service.protocol.client import Prompted

logger = logging.getLogger(__name__)


def say_prompts(message: Prompted, *, config: ServiceConfig, session: str) -> None:
    """One line for a prompt of a session, if it is wanted."""
    if config.log_prompts:
        texts = [message.prompt] if message.prompt is not None else [one.text for one in message.prompts or ()]
        logger.info("session %s: %s", session, " | ".join(texts), extra={"fields": {"prompts": texts}})
