"""The worker process: `python -m service.worker.main`, with its settings as one line of JSON on standard input.

Loads the engine, warms it up, says READY with the facts, runs the loop, and ends with a code that tells how. Knows
processes; knows nothing of blocks or the web. Invariants: a worker that ends with anything but 0 has said why (`Dead`)
if it could; it never outlives its parent; an error that may have left the device broken is never tried again here.
"""

import ctypes
import logging
import os
import signal
import sys
from functools import partial
from types import FrameType
from typing import BinaryIO, NoReturn

from models.errors import EngineError
from service.channel import WorkerChannel
from service.errors import ConfigError
from service.ipc import Dead, IpcError, Ready
from service.telemetry.logs import configure_logs
from service.telemetry.tracing import tracing_to
from service.worker.heartbeat import HeartbeatThread, device_bytes, watch_parent
from service.worker.loop import Channel, Loop
from service.worker.settings import ExitCode, WorkerSettings, settings_from_json
from service.worker.tracing import TracedChannel
from service.worker.warmup import load_engine, warm_up

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def main(pipe: BinaryIO) -> ExitCode:
    """Run one worker. `pipe` gives one line of settings, then nothing until the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    signal.signal(signal.SIGTERM, _leave_at_once)
    _die_with_parent()
    try:
        settings = settings_from_json(pipe.readline())
    except ValueError as error:
        logger.error("expected one line of settings: %s", error)
        return ExitCode.REFUSED
    configure_logs(settings.log_format, level=settings.log_level, process="worker")
    watch_parent(pipe.fileno(), on_death=_orphaned)
    channel = WorkerChannel(settings.endpoints, settings.channel)
    try:
        return _serve_traced(settings, channel)
    finally:
        channel.close()


def _serve_traced(settings: WorkerSettings, channel: WorkerChannel) -> ExitCode:
    if settings.telemetry_endpoint is None:
        return serve(settings, channel)
    try:
        tracing = tracing_to(settings.telemetry_endpoint, share=settings.telemetry_share, process="worker")
    except ConfigError as error:
        logger.error("cannot trace: %s", error)
        return ExitCode.REFUSED
    try:
        return serve(settings, TracedChannel(channel, tracing))
    finally:
        tracing.close()


def serve(settings: WorkerSettings, channel: Channel) -> ExitCode:
    """Run the worker; whatever goes wrong is turned into last words and an exit code."""
    try:
        _run(settings, channel)
        return ExitCode.DRAINED
    except IpcError as error:
        logger.error("the channel failed: %s", error)
        return ExitCode.CHANNEL_FAILED
    except EngineError as error:
        logger.error("the engine refuses: %s", error)
        _last_words(channel, error.code, str(error))
        return ExitCode.REFUSED
    except Exception as error:  # the process's boundary: said, logged and ended, never tried again here
        logger.exception("the worker ends")
        _last_words(channel, "engine_failed", f"{type(error).__name__}: {error}")
        return ExitCode.FAILED


def _run(settings: WorkerSettings, channel: Channel) -> None:
    engine = load_engine(settings)
    facts = warm_up(engine, threads=settings.threads, budget_bytes=settings.memory_budget_bytes)
    logger.info("memory for %d streams: %s", facts.max_streams, facts.plan)
    loop = Loop(engine, facts, settings=settings, channel=channel)
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.ask_drain())
    channel.send(Ready(facts=facts))
    heartbeat = HeartbeatThread(
        loop.progress,
        send=channel.send,
        interval=settings.heartbeat_interval,
        device_memory=partial(device_bytes, facts.device),
    )
    try:
        loop.run()
    finally:
        heartbeat.stop()


def _last_words(channel: Channel, code: str, message: str) -> None:
    try:
        channel.send(Dead(code=code, message=message))
    except IpcError as error:
        logger.error("nobody to tell: %s", error)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process with its parent, also where it is stopped or stuck in a kernel."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _orphaned() -> None:
    os._exit(ExitCode.ORPHANED)


def _leave_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Before READY there is nothing to finish."""
    raise SystemExit(ExitCode.DRAINED)


if __name__ == "__main__":
    configure_logs("text", process="worker")
    sys.exit(main(sys.stdin.buffer))
