"""Traces: what the service asks of whoever keeps them, and nobody, who keeps none.

It knows W3C contexts as texts; nothing of OpenTelemetry but where it lies. Invariants: where no endpoint is set no
package of it is imported; a trace never changes or delays what it tells of.
"""

from collections.abc import Mapping
from typing import Protocol

from service.errors import ConfigError

Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """Something that began. `traceparent` is its W3C context, "" where it is not kept."""

    @property
    def traceparent(self) -> str: ...
    def set(self, attributes: Attributes) -> None: ...
    def end(self, *, failed: str = "") -> None:
        """It is over; `failed` says what went wrong, if something did."""


class Tracing(Protocol):
    def begin(self, name: str, *, parent: str = "", kind: str = "internal", attributes: Attributes) -> Span:
        """A span that ends later. `kind` is `internal` or `server`."""

    def tell(self, name: str, *, parent: str, began: float, ended: float, attributes: Attributes) -> str:
        """A span that is over, by times in seconds since 1970. Its W3C context."""

    def close(self) -> None:
        """Sends what is left, for a bounded time."""


class _Nothing:
    traceparent = ""

    def set(self, attributes: Attributes) -> None:
        del attributes

    def end(self, *, failed: str = "") -> None:
        del failed


class Untraced:
    """Keeps nothing. Contexts of callers are passed on as they came."""

    def begin(self, name: str, *, parent: str = "", kind: str = "internal", attributes: Attributes) -> Span:
        del name, parent, kind, attributes
        return _Nothing()

    def tell(self, name: str, *, parent: str, began: float, ended: float, attributes: Attributes) -> str:
        del name, began, ended, attributes
        return parent

    def close(self) -> None:
        """There is nothing."""


def tracing_to(endpoint: str | None, *, share: float = 1.0, process: str, version: str = "") -> Tracing:
    """Traces to a collector; nobody without one. Raises ConfigError where the extra `telemetry` is not installed."""
    if endpoint is None:
        return Untraced()
    try:
        from service.telemetry.otel import OtelTracing
    except ImportError as error:
        message = f"telemetry_endpoint wants the extra telemetry: pip install longtake[telemetry] ({error})"
        raise ConfigError(message) from error
    return OtelTracing.to(endpoint, share=share, process=process, version=version)
