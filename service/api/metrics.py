"""What the service counts and times, in the Prometheus text format.

It knows nothing of sockets or of how sessions work: it is told what happened. Invariants: every label has a
bounded set of values that this program names; no prompt, no session id and no address is ever one.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import ipc
from service.api.reply import Reply
from service.errors import ErrorCode
from service.jobs.values import Job
from service.protocol.server import ChunkMetadata, ErrorMessage, SessionDone

PREFIX = "longtake"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_GUARD_CODES = frozenset(code.value for code in ErrorCode if code.startswith("guard_"))
STAGES = ("text", "recache", "denoise", "clean", "decode", "encode")

_FAST = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MEDIUM = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_RATIOS = (0.25, 0.5, 0.75, 0.9, 0.95, 1.0, 1.05, 1.25, 2.0, 5.0)


class Metrics:
    """One set of counters, with its own registry: two apps in one process do not share any."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)

        self.http_requests = counter("http_requests", "HTTP requests.", "route", "method", "status")
        self.http_seconds = histogram(
            "http_request_duration_seconds", "Time to answer a request.", "route", buckets=_FAST
        )
        self.session_seconds = histogram("session_duration_seconds", "From place to end.", buckets=_LONG)
        self.admission_seconds = histogram("admission_wait_seconds", "From session.start to a place.", buckets=_MEDIUM)
        self.session_ends = counter("session_end", "Sessions that ended, by reason.", "reason")
        self.first_frame_seconds = histogram(
            "ttff_seconds", "From session.start to the first chunk sent.", buckets=_MEDIUM
        )
        self.stage_seconds = histogram("chunk_generation_seconds", "Cost of a chunk, by stage.", "stage", buckets=_FAST)
        self.gap_seconds = histogram("chunk_gap_seconds", "Between two chunks sent of a session.", buckets=_MEDIUM)
        self.realtime_ratio = histogram("realtime_ratio", "Media per second of a session, at its end.", buckets=_RATIOS)
        self.frames_generated = counter("frames_generated", "Frames that came from the worker.")
        self.frames_sent = counter("frames_sent", "Frames that clients' sockets took.")
        self.frames_dropped = counter("frames_dropped", "Frames that were not sent, by reason.", "reason")
        self.switch_seconds = histogram("prompt_switch_latency_seconds", "From a prompt to its chunk.", buckets=_MEDIUM)
        self.bytes_sent = counter("bytes_sent", "Bytes of media that clients' sockets took.")
        self.webhooks = counter("webhooks", "Tries of webhooks, by outcome.", "outcome")
        self.prompts = counter("prompts_judged", "Prompts that hooks looked at, by outcome.", "outcome")
        self.errors = counter("errors", "Errors told to clients, by code.", "code")
        self.guarded = counter("output_guard", "Blocks that were found faulty: made again, or the end by kind.", "kind")
        self.job_ends = counter("jobs", "Batch jobs that ended, by status.", "status")
        self.job_seconds = histogram(
            "job_duration_seconds", "From the first attempt at a batch job to its end.", buckets=_LONG
        )
        self.sockets_refused = counter("sockets_refused", "TCP connections that could not stay, by code.", "code")

    def job_ended(self, job: Job) -> None:
        """A batch job has become terminal."""
        self.job_ends.labels(job.status.value).inc()
        if job.started_at is not None and job.completed_at is not None:
            self.job_seconds.observe(max(0.0, job.completed_at - job.started_at))

    def render(self) -> bytes:
        return generate_latest(self.registry)


class SessionMeter:
    """Tells the metrics what happens to one session."""

    def __init__(self, metrics: Metrics, now: float) -> None:
        self._metrics = metrics
        self.abandoned = False
        """It ends because its director left it."""
        self._asked_at = now
        self._admitted_at: float | None = None
        self._first_at: float | None = None
        self._last_at = 0.0
        self._media = self._first_media = 0.0

    def admitted(self, now: float) -> None:
        """The session has a place."""
        self._admitted_at = now
        self._metrics.admission_seconds.observe(now - self._asked_at)

    def event(self, event: ipc.SessionEvent, now: float) -> None:
        """The worker said something about the session."""
        if isinstance(event, ipc.Chunk):
            self._chunk(event, now)
        elif isinstance(event, ipc.Applied):
            self._metrics.switch_seconds.observe(event.latency_ms / 1000)
        elif isinstance(event, ipc.Failed) and event.code in _GUARD_CODES:
            self._metrics.guarded.labels(event.code.removeprefix("guard_")).inc()

    def _chunk(self, chunk: ipc.Chunk, now: float) -> None:
        self._metrics.frames_generated.inc(len(chunk.frames))
        if chunk.attempt:
            self._metrics.guarded.labels("made_again").inc()
        for stage in STAGES:
            milliseconds: float = getattr(chunk.timings, stage)
            if milliseconds > 0:
                self._metrics.stage_seconds.labels(stage).observe(milliseconds / 1000)
        self._media += len(chunk.frames) / chunk.fps
        if self._first_at is None:
            self._first_at, self._first_media = now, self._media
        self._last_at = now

    def ended(self, last: Reply, now: float) -> None:
        """The session's last word."""
        if self._admitted_at is None:
            return
        self._metrics.session_ends.labels("client_gone" if self.abandoned else _reason(last)).inc()
        self._metrics.session_seconds.observe(now - self._admitted_at)
        if self._first_at is not None and self._last_at > self._first_at:
            ratio = (self._media - self._first_media) / (self._last_at - self._first_at)
            self._metrics.realtime_ratio.observe(ratio)
        self._admitted_at = None


class ConnectionMeter:
    """Tells the metrics what one connection is told and takes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._asked_at: float | None = None
        self._last_at: float | None = None

    def asked(self, now: float) -> None:
        """`session.start` was accepted by the connection."""
        self._asked_at = now

    def said(self, reply: Reply) -> None:
        """A message for the client was decided on."""
        if isinstance(reply.message, ErrorMessage):
            self._metrics.errors.labels(reply.message.code).inc()

    def took(self, chunk: ChunkMetadata, now: float) -> None:
        """The client's socket took a chunk."""
        metrics = self._metrics
        metrics.frames_sent.inc(chunk.num_frames)
        metrics.bytes_sent.inc(chunk.byte_length)
        if chunk.dropped_frames:
            metrics.frames_dropped.labels("slow_consumer").inc(chunk.dropped_frames)
        if self._last_at is not None:
            metrics.gap_seconds.observe(now - self._last_at)
        elif self._asked_at is not None:
            metrics.first_frame_seconds.observe(now - self._asked_at)
        self._last_at = now


def _reason(reply: Reply) -> str:
    if isinstance(reply.message, SessionDone):
        return reply.message.reason
    return reply.message.code if isinstance(reply.message, ErrorMessage) else "handed_over"


class Readings(Collector):
    """Values that are read when somebody asks, instead of being kept up to date.

    Args:
        gauges: a name, what it is, and its value now.
        restarts: how often the worker was lost, by reason.
        build: labels of `build_info`.
        engine: labels of `engine_info`; none while there is no engine.
    """

    def __init__(
        self,
        gauges: Callable[[], dict[str, tuple[str, float]]],
        restarts: Callable[[], Mapping[str, int]],
        *,
        build: dict[str, str],
        engine: Callable[[], Mapping[str, str]],
    ) -> None:
        self._gauges = gauges
        self._restarts = restarts
        self._build = build
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(f"{PREFIX}_build_info", "This program.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1)
        yield build
        labels = self._engine()
        if labels:
            engine = GaugeMetricFamily(f"{PREFIX}_engine_info", "What computes.", labels=list(labels))
            engine.add_metric(list(labels.values()), 1)
            yield engine
        restarts = CounterMetricFamily(
            f"{PREFIX}_worker_restarts", "Workers that were lost and had to be replaced.", labels=["reason"]
        )
        for reason, count in self._restarts().items():
            restarts.add_metric([reason], count)
        yield restarts
        for name, (text, value) in self._gauges().items():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


class HttpMeter:
    """ASGI middleware: counts HTTP requests by the route that answered, not by what was asked for."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = _route(scope)
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
            self._metrics.http_requests.labels(route, method, str(status)).inc()
            self._metrics.http_seconds.labels(route).observe(time.monotonic() - began)


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", "none"))
