"""Keeps one worker running: starts it, watches it end or fall silent, starts another, and knows when to give up.

Knows processes, channels and exit codes; knows nothing of sessions, blocks or the web. Invariants: a worker is started
a bounded number of times in a window of time, later each time; each start has a channel and a folder of its own;
whatever way a start ends, its process, sockets and folder are gone before the next one.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.api.worker_link import Host
from service.channel import ApiChannel, ChannelLimits, Endpoints, remove_abandoned
from service.config import ServiceConfig, model_folder, store_folder
from service.ipc import Command, Event, Facts, Ready
from service.worker.settings import ExitCode, LoadSettings, WorkerSettings, settings_to_json

logger = logging.getLogger(__name__)

DEFAULT_LOADER = "models.load:load_engine"


class RestartPolicy:
    """A circuit breaker: after `limit` restarts within `window` seconds the next loss is final."""

    def __init__(self, limit: int, window: float, *, delay: float, delay_max: float) -> None:
        self._limit = limit
        self._window = window
        self._delay = delay
        self._delay_max = delay_max
        self._restarts: deque[float] = deque()

    def delay_after_loss(self, now: float) -> float | None:
        """Seconds to wait before the next start; None: there shall be none."""
        while self._restarts and self._restarts[0] <= now - self._window:
            self._restarts.popleft()
        if len(self._restarts) >= self._limit:
            return None
        self._restarts.append(now)
        return float(min(self._delay * 2 ** (len(self._restarts) - 1), self._delay_max))


@dataclass(frozen=True, slots=True)
class _Link:
    """The channel of one start, which notices when the process behind it has ended.

    What was sent before the end is still handed over first.
    """

    channel: ApiChannel
    process: asyncio.subprocess.Process
    poll_interval: float
    client: Host
    on_ready: Callable[[Facts], None]

    async def send(self, command: Command) -> None:
        await self.channel.send(command)

    async def receive(self, timeout: float) -> Event | None:
        ended = self.process.returncode
        event = await self.channel.receive(min(timeout, self.poll_interval))
        if event is None and ended is not None:
            self.client.lose(describe_exit(ended), link=self)
        if isinstance(event, Ready):
            self.on_ready(event.facts)
        return event


class Supervisor:
    def __init__(
        self,
        config: ServiceConfig,
        client: Host,
        *,
        loader: str = DEFAULT_LOADER,
        is_last: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_last`: whether no other worker is left that the client's sessions could go to."""
        self._config = config
        self._client = client
        self._loader = loader
        self._is_last = is_last
        self._clock = clock
        self._policy = RestartPolicy(
            config.worker_restarts,
            config.worker_restart_window,
            delay=config.worker_restart_delay,
            delay_max=config.worker_restart_delay_max,
        )
        self._stopping = asyncio.Event()
        self._link: _Link | None = None
        self.gpu: str | None = None
        """The GPU that the worker last had, by its UUID."""
        self.fenced = False
        """No other worker is started: its GPU is not to be used."""
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> bool:
        """Until `stop` is called (True), or the worker is lost for good (False).

        Raises:
            IpcError, OSError: there is no place for the worker's sockets or process.
        """
        if abandoned := await asyncio.to_thread(remove_abandoned):
            logger.info("%d folders of killed servers are removed", abandoned)
        while not self._lost_for_good():
            code = await self._run_once()
            if self._lost_for_good():
                break  # whatever else is asked for meanwhile
            if self._stopping.is_set() or self._client.stopping:
                return True  # a worker that was asked to end is not started again
            if code == ExitCode.REFUSED:
                logger.error("the worker cannot be started: %s", self._client.loss)
                return self._give_up()
            delay = self._policy.delay_after_loss(self._clock())
            if delay is None:
                logger.error("the worker was lost too often: %s", self._client.loss)
                return self._give_up()
            logger.warning("the worker is started again in %g s", delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return True
        return self._give_up()

    def _lost_for_good(self) -> bool:
        return self.fenced

    @property
    def running(self) -> bool:
        """There is a process, whatever state it is in."""
        return self._process is not None

    def _on_ready(self, facts: Facts) -> None:
        self.gpu = facts.device_uuid or self.gpu

    def replace(self, reason: str) -> None:
        """The worker is not to be trusted any more: it counts as lost, and another is started."""
        if self._link is not None:
            self._client.lose(reason, kind="gpu_fault", link=self._link)

    def fence(self, reason: str) -> None:
        """The worker's GPU is not to be trusted any more: it counts as lost, and no other is started."""
        self.fenced = True
        self.replace(reason)

    def _give_up(self) -> bool:
        if self._is_last():
            self._client.give_up()
        return False

    async def stop(self) -> None:
        """Tell the worker to end, and kill it if it does not. `run` returns after this."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await _end(self._process, self._config.worker_stop_timeout)

    async def _run_once(self) -> int:
        """One start, to the end of its process; the exit code."""
        config = self._config
        with _open_channel(config) as (endpoints, channel):
            settings = worker_settings(config, endpoints, loader=self._loader)
            # Spawned, not forked: nothing of this process (threads, sockets, locks) is in the worker.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "service.worker.main", stdin=asyncio.subprocess.PIPE
            )
            self._process = process
            try:
                if self._stopping.is_set():
                    process.terminate()
                assert process.stdin is not None, "its standard input is a pipe"
                process.stdin.write(settings_to_json(settings))
                self._link = _Link(channel, process, config.worker_poll_interval, self._client, self._on_ready)
                await self._client.serve(self._link)
            finally:
                self._link = None
                code = await _end(process, config.worker_stop_timeout)
                self._process = None
        return code


@contextlib.contextmanager
def _open_channel(config: ServiceConfig) -> Iterator[tuple[Endpoints, ApiChannel]]:
    endpoints = Endpoints.create()
    try:
        channel = ApiChannel(endpoints, channel_limits(config))
        try:
            yield endpoints, channel
        finally:
            channel.close()
    finally:
        endpoints.remove()


async def _end(process: asyncio.subprocess.Process, timeout: float) -> int:
    """Wait for the process to end, and kill it after `timeout` seconds. The exit code."""
    try:
        await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError:
        logger.warning("the worker is killed: it did not end within %g s", timeout)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    finally:
        if process.stdin is not None:
            process.stdin.close()
    return await process.wait()


def channel_limits(config: ServiceConfig) -> ChannelLimits:
    return ChannelLimits(
        messages=config.channel_messages,
        message_bytes=config.channel_message_bytes,
        send_timeout=config.channel_send_timeout,
        linger=config.channel_linger,
    )


def worker_settings(config: ServiceConfig, endpoints: Endpoints, *, loader: str) -> WorkerSettings:
    """What the worker is told, out of the service's settings."""
    return WorkerSettings(
        folder=str(endpoints.folder),
        channel=channel_limits(config),
        generator=loader,
        preset=config.preset,
        loading=load_settings(config),
        threads=config.worker_threads,
        encoder_threads=config.encoder_threads,
        store_dir=str(store_folder(config)),
        max_sessions=config.max_sessions,
        max_jobs=config.max_jobs,
        copy_bytes=config.copy_bytes,
        turn_blocks=config.turn_blocks,
        late_bytes=config.late_max_bytes,
        mark_frames=config.mark_frames,
        guard=config.guard and not config.random_weights,  # noise for weights makes noise for pictures
        interaction_queue=config.interaction_queue,
        session_credits=config.session_credits,
        lead_blocks=config.lead_blocks,
        playback_patience=config.playback_patience,
        unseen_margin=config.unseen_margin,
        memory_budget_bytes=config.memory_budget_bytes,
        interrupts_per_block=config.interrupts_per_block,
        heartbeat_interval=config.heartbeat_interval,
        poll_interval=config.worker_poll_interval,
        media_timeout=config.block_deadline,
        drain_timeout=config.drain_timeout,
        log_format=config.log_format,
        log_level=config.log_level,
        telemetry_endpoint=config.telemetry_endpoint,
        telemetry_share=config.telemetry_share,
    )


def load_settings(config: ServiceConfig) -> LoadSettings:
    return LoadSettings(
        random_weights=config.random_weights,
        device=config.device,
        attention=config.attention,
        decoder=config.decoder,
        quantize=config.quantize,
        adapters=config.adapters,
        preset_dir=str(config.preset_dir) if config.preset_dir is not None else None,
        model_dir=str(model_folder(config)),
        fused=config.fused,
        compile=config.compile,
        channels_last=config.channels_last,
        graphs=config.graphs,
        decode_stream=config.decode_stream,
        tuning_dir=str(config.tuning_dir) if config.tuning_dir is not None else None,
        steps=config.steps,
        window_frames=config.window_frames,
        reuse_last_pass=config.reuse_last_pass,
        kv_cache=config.kv_cache,
        short_heads=config.short_heads,
        short_window=config.short_window,
        stagger=config.stagger,
    )


def describe_exit(code: int) -> str:
    """How a process ended, in words: its code, or the signal that killed it."""
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"
