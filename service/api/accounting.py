"""The accounts of keys, kept while the service runs: what was used is written down, who may no more is sent away.

It knows quotas, keys and the open connections; nothing of what they do. Invariants: a key that was revoked has no
connection for longer than an interval; a store that fails delays the accounts and stops nothing.
"""

import asyncio
import logging

from service.api.connections import Connections
from service.api.services import Services
from service.errors import ErrorCode, SessionError

logger = logging.getLogger(__name__)


async def keep_accounts(services: Services, connections: Connections) -> None:
    """Until it is cancelled; then once more."""
    try:
        while True:
            await asyncio.sleep(services.config.usage_interval)
            await settle_accounts(services, connections)
    finally:
        await settle_accounts(services, connections)


async def settle_accounts(services: Services, connections: Connections) -> None:
    """Writes down what was used, and ends the connections of keys that are no longer good."""
    try:
        await services.quotas.flush()
        present = connections.keys
        good = await services.desk.book.valid(present, services.desk.clock()) if present else present
    except SessionError as error:
        logger.warning("the accounts of keys wait: %s", error)
        return
    for key in present - good:
        logger.info("key %s is no longer good; its connections end", key)
        connections.end_key(key, code=ErrorCode.KEY_INVALID, message="The key was revoked.")
