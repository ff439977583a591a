"""Writes Grafana's dashboards: `python deploy/monitoring/dashboards.py`. What they show is in the tables below.

Knows Grafana's JSON and the names of metrics; nothing of how those are counted. Invariants: the same tables give the
same files, which a test compares with those that are here; every panel says what it shows, in a unit.
"""

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
BY = 'instance=~"$instance"'
WIDTH, HEIGHT = 8, 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: what it shows, its unit as Grafana names it, and lines (legend, expression)."""

    title: str
    unit: str
    text: str
    lines: tuple[tuple[str, str], ...]


def quantiles(metric: str, *, by: str = "") -> tuple[tuple[str, str], ...]:
    """p50, p95 and p99 of a histogram over five minutes."""
    groups = f"le, {by}" if by else "le"
    legend = "{{" + by + "}} " if by else ""
    return tuple(
        (f"{legend}p{share}", f"histogram_quantile(0.{share}, sum by ({groups}) (rate({metric}_bucket{{{BY}}}[5m])))")
        for share in (50, 95, 99)
    )


def each(metric: str, legend: str = "{{instance}}") -> tuple[tuple[str, str], ...]:
    return ((legend, f"{metric}{{{BY}}}"),)


def rates(metric: str, *, by: str) -> tuple[tuple[str, str], ...]:
    return (("{{" + by + "}}", f"sum by ({by}) (rate({metric}{{{BY}}}[5m]))"),)


SERVICE = (
    Panel("Ready", "none", "1 while a session would be started.", each("longtake_ready")),
    Panel(
        "Places",
        "none",
        "Sessions that run, places there are, and sessions that wait for one.",
        (
            ("run", f"sum(longtake_sessions_active{{{BY}}})"),
            ("places", f"sum(longtake_places{{{BY}}})"),
            ("wait", f"sum(longtake_sessions_waiting{{{BY}}})"),
        ),
    ),
    Panel(
        "Viewers",
        "none",
        "Connections that watch a session, and all connections.",
        (*each("longtake_viewers", "watch"), *each("longtake_connections_open", "connections")),
    ),
    Panel("First frame", "s", "From session.start to the first chunk sent.", quantiles("longtake_ttff_seconds")),
    Panel("New prompt", "s", "From a prompt to its chunk.", quantiles("longtake_prompt_switch_latency_seconds")),
    Panel("Gap between chunks", "s", "Between two chunks sent of a session.", quantiles("longtake_chunk_gap_seconds")),
    Panel("Wait for a place", "s", "From session.start to a place.", quantiles("longtake_admission_wait_seconds")),
    Panel(
        "Frames",
        "none",
        "Frames a second that came from workers, and that clients took.",
        (
            ("made", f"sum(instance:longtake_frames_generated:rate1m{{{BY}}})"),
            ("sent", f"sum(instance:longtake_frames_sent:rate1m{{{BY}}})"),
        ),
    ),
    Panel("Frames not sent", "none", "By reason, a second.", rates("longtake_frames_dropped_total", by="reason")),
    Panel("Ends of sessions", "none", "By reason, a second.", rates("longtake_session_end_total", by="reason")),
    Panel("Errors told", "none", "By code, a second.", rates("longtake_errors_total", by="code")),
    Panel("HTTP requests", "none", "By status, a second.", rates("longtake_http_requests_total", by="status")),
    Panel("HTTP answers", "s", "Time to answer.", quantiles("longtake_http_request_duration_seconds")),
    Panel(
        "Media sent",
        "Bps",
        "Bytes a second that clients took.",
        (("{{instance}}", f"rate(longtake_bytes_sent_total{{{BY}}}[1m])"),),
    ),
    Panel(
        "Waiting for clients",
        "bytes",
        "Media that waits for sockets, and is kept to be sent again.",
        (*each("longtake_send_queue_bytes", "waits"), *each("longtake_replay_bytes", "kept")),
    ),
)
ENGINE = (
    Panel(
        "Cost of a chunk",
        "s",
        "Mean seconds a chunk, by stage.",
        (
            (
                "{{stage}}",
                f"sum by (stage) (rate(longtake_chunk_generation_seconds_sum{{{BY}}}[5m]))"
                f" / sum by (stage) (rate(longtake_chunk_generation_seconds_count{{{BY}}}[5m]))",
            ),
        ),
    ),
    Panel(
        "Stages, p95",
        "s",
        "The slow ones of each stage.",
        quantiles("longtake_chunk_generation_seconds", by="stage")[1:2],
    ),
    Panel(
        "Real time",
        "none",
        "Media per second of sessions that ended; 1 is as it is watched.",
        quantiles("longtake_realtime_ratio")[:2],
    ),
    Panel(
        "Device memory",
        "bytes",
        "What the worker's tensors hold on its device, and the caches of sessions.",
        (
            *each("longtake_gpu_memory_bytes", "{{instance}} tensors"),
            *each("longtake_kv_cache_bytes", "{{instance}} caches"),
        ),
    ),
    Panel("Process memory", "bytes", "Resident memory of the worker.", each("longtake_worker_memory_bytes")),
    Panel(
        "Worker lost",
        "none",
        "How often it had to be replaced, by reason.",
        (("{{instance}} {{reason}}", f"longtake_worker_restarts_total{{{BY}}}"),),
    ),
    Panel("Heartbeat", "s", "Since the worker last said anything.", each("longtake_worker_heartbeat_age_seconds")),
    Panel(
        "GPUs out of use",
        "none",
        "GPUs that reported a fault that a restart does not mend.",
        each("longtake_gpu_fenced"),
    ),
    Panel("Length of sessions", "s", "From place to end.", quantiles("longtake_session_duration_seconds")),
)
DASHBOARDS = {"service": ("Longtake: service", SERVICE), "engine": ("Longtake: engine", ENGINE)}


def panel_json(panel: Panel, number: int) -> dict[str, object]:
    place = {"x": number % 3 * WIDTH, "y": number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT}
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for index, (legend, expression) in enumerate(panel.lines)
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def dashboard_json(name: str) -> dict[str, object]:
    title, panels = DASHBOARDS[name]
    instance = {
        "name": "instance",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(longtake_ready, instance)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": f"longtake-{name}",
        "title": title,
        "tags": ["longtake"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [instance]},
        "panels": [panel_json(panel, number) for number, panel in enumerate(panels)],
    }


def text_of(name: str) -> str:
    return json.dumps(dashboard_json(name), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each_name in DASHBOARDS:
        (FOLDER / f"{each_name}.json").write_text(text_of(each_name), "utf-8")
