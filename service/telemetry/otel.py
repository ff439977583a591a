"""Traces by OpenTelemetry: the only file that knows its packages, imported where an endpoint is set.

It knows spans and an exporter. Invariants: what waits to be sent has a bound, and is dropped beyond it; a collector
that does not answer delays nobody.
"""

from typing import Self

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.telemetry.tracing import Attributes

_NANO = 1_000_000_000
_EXPORT_SECONDS = 5
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER}
_HEADER = "traceparent"


class OtelSpan:
    def __init__(self, span: ApiSpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return carrier.get(_HEADER, "")

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def end(self, *, failed: str = "") -> None:
        if failed:
            self._span.set_status(Status(StatusCode.ERROR, failed))
        self._span.end()


class OtelTracing:
    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("longtake")

    @classmethod
    def to(cls, endpoint: str, *, share: float, process: str, version: str) -> Self:
        """To a collector at this address."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        return cls.with_exporter(exporter, share=share, process=process, version=version)

    @classmethod
    def with_exporter(cls, exporter: SpanExporter, *, share: float, process: str, version: str) -> Self:
        resource = Resource.create(
            {"service.name": "longtake", "service.version": version, "longtake.process": process}
        )
        provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(share)))
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def begin(self, name: str, *, parent: str = "", kind: str = "internal", attributes: Attributes) -> OtelSpan:
        context = TraceContextTextMapPropagator().extract({_HEADER: parent}) if parent else None
        return OtelSpan(self._tracer.start_span(name, context, _KINDS[kind], attributes))

    def tell(self, name: str, *, parent: str, began: float, ended: float, attributes: Attributes) -> str:
        context = TraceContextTextMapPropagator().extract({_HEADER: parent}) if parent else None
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=round(began * _NANO))
        traceparent = OtelSpan(span).traceparent
        span.end(round(ended * _NANO))
        return traceparent

    def close(self) -> None:
        self._provider.shutdown()
