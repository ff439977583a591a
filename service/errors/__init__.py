"""Every error the service can name: stable codes, what they mean, and the exceptions that carry them."""

from service.errors.codes import CloseCode, ErrorCode, WarningCode
from service.errors.exceptions import (
    CapacityError,
    ConfigError,
    ProtocolError,
    ServiceError,
    SessionError,
    WorkerDied,
    WorkerError,
    WorkerUnavailable,
)
from service.errors.registry import REGISTRY, ErrorFacts, facts_of

__all__ = [
    "REGISTRY",
    "CapacityError",
    "CloseCode",
    "ConfigError",
    "ErrorCode",
    "ErrorFacts",
    "ProtocolError",
    "ServiceError",
    "SessionError",
    "WarningCode",
    "WorkerDied",
    "WorkerError",
    "WorkerUnavailable",
    "facts_of",
]
