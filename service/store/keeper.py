"""Sweeps the store, and keeps what this process holds in it, for as long as the service runs.

Knows a store and a period; nothing of what a sweep does. Invariant: what fails is written down and the next one comes
in its time.
"""

import asyncio
import logging
import time

from service.store.failures import StoreError
from service.store.retention import Retention
from service.store.store import SessionStore

logger = logging.getLogger(__name__)


async def keep_swept(store: SessionStore, keep: Retention, *, interval: float) -> None:
    """A sweep now and then one every `interval` seconds, until it is cancelled."""
    while True:
        try:
            swept = await store.sweep(keep, now=time.time())
        except StoreError as error:
            logger.warning("the store could not be swept: %s", error)
        else:
            if swept.sessions or swept.orphans:
                count, orphans = len(swept.sessions), len(swept.orphans)
                logger.info("store: %d sessions and %d stray folders deleted", count, orphans)
        await asyncio.sleep(interval)


async def keep_held(store: SessionStore, *, hold_seconds: float, grace: float) -> None:
    """Says thrice in `hold_seconds` that this process is there, and ends sessions to which nobody came back."""
    while True:
        try:
            await store.holds.renew()
            if gone := await store.holds.end_abandoned(grace=grace):
                logger.info("store: %d sessions that nobody held have ended", len(gone))
        except StoreError as error:
            logger.warning("the store does not know that this server is there: %s", error)
        await asyncio.sleep(hold_seconds / 3)
