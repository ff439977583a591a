"""What every session's hub works with.

It knows the names of the parts only. Invariant: one of each in a process; tests give it a clock of their own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from service.access.desk import Desk
from service.access.quota import Quotas
from service.api.metrics import Metrics
from service.api.pictures import Pictures
from service.api.tokens import Tokens
from service.api.worker_client import WorkerClient
from service.config import ServiceConfig
from service.hooks import PromptHooks
from service.store.store import SessionStore
from service.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    config: ServiceConfig
    worker: WorkerClient
    store: SessionStore
    metrics: Metrics
    tokens: Tokens
    pictures: Pictures
    desk: Desk
    quotas: Quotas
    tracing: Tracing
    hooks: PromptHooks
    clock: Callable[[], float] = field(default=time.monotonic)
