"""Loading the engine and making it warm, so that READY means ready.

Knows the engine's seam and the facts that the API is told. Invariant: the stream used for warming up is closed, and
what is said about blocks (frames, milliseconds) was seen on it, not assumed.
"""

import importlib
import logging
import os
import time
from pathlib import Path
from typing import cast

from models.adapters import parse_adapter
from models.attention import Kernel
from models.errors import EngineError
from models.journal import MAX_PROMPT_CHARACTERS, WeightedPrompt
from models.load import LoadOptions
from models.lossy import lossy_of
from models.presets import Decoder
from models.quantize import Quantize
from models.speed import speed_of
from service.ipc import Facts, MemoryPlan
from service.worker.engine import EngineBlock, LoadedEngine, Loader
from service.worker.heartbeat import device_uuid, resident_bytes
from service.worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

WARMUP_PROMPT = "a calm sea at noon"
WARMUP_CHANGE = "a calm sea at night"


class LoaderError(EngineError):
    """The setting `generator` does not name a loader."""

    code = "loader_unknown"


def load_engine(settings: WorkerSettings) -> LoadedEngine:
    """Raises EngineError for a loader, preset or weights that cannot be used."""
    module, _, function = settings.generator.partition(":")
    try:
        loader = cast(Loader, getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        message = f"expected the loader as module:function, got {settings.generator!r}: {error}"
        raise LoaderError(message, field="generator") from error
    return loader(settings.preset, load_options(settings))


def load_options(settings: WorkerSettings) -> LoadOptions:
    """The settings as the engine is told them. Raises ConfigError for an adapter that is not NAME=PATH[:SCALE]."""
    loading = settings.loading
    # The names were compared with those that there are when the service's settings were read.
    return LoadOptions(
        device=loading.device,
        threads=settings.threads,
        kernel=cast(Kernel, loading.attention),
        random_seed=0 if loading.random_weights else None,
        model_dir=Path(loading.model_dir) if loading.model_dir is not None else None,
        preset_dir=Path(loading.preset_dir) if loading.preset_dir is not None else None,
        decoder=cast(Decoder | None, loading.decoder),
        quantize=cast(Quantize, loading.quantize),
        adapters=tuple(parse_adapter(text) for text in loading.adapters),
        memory_budget_bytes=settings.memory_budget_bytes,
        sessions=settings.max_sessions,
        report=logger.info,
        speed=speed_of(loading),
        lossy=lossy_of(loading),
    )


def warm_up(engine: LoadedEngine, *, threads: int, budget_bytes: int | None) -> Facts:
    """Make two blocks and a recache on a stream that is thrown away, and say what was seen."""
    started = time.perf_counter()
    stream = engine.start([WeightedPrompt(WARMUP_PROMPT)], seed=0)
    try:
        first = _step(engine, stream)
        engine.set_prompt(
            stream, [WeightedPrompt(WARMUP_CHANGE)], mode="recache", sink="keep", transition_chunks=0, event_id=""
        )
        later = _step(engine, stream)
        memory = engine.plan_memory(stream, budget_bytes=budget_bytes)
    finally:
        engine.close(stream)
    preset, facts, timings = engine.preset, engine.facts(), later.timings
    return Facts(
        preset=preset.name,
        title=preset.title,
        licence=preset.licence.name,
        licence_url=preset.licence.url,
        commercial_use=preset.licence.commercial,
        licence_accept_required=preset.licence.accept_required,
        width=preset.width,
        height=preset.height,
        fps=preset.fps,
        block_frames=preset.block_frames,
        frames_per_block=len(later.frames),
        first_block_frames=len(first.frames),
        fingerprint=facts.fingerprint,
        device=facts.device,
        device_uuid=device_uuid(facts.device),
        dtype=facts.dtype,
        attention=facts.attention,
        parameters=facts.parameters,
        cache_bytes_per_stream=facts.cache_bytes_per_stream,
        max_streams=memory.max_streams,
        plan=MemoryPlan(**{name: getattr(memory, name) for name in MemoryPlan.__struct_fields__}),
        prompt_characters=MAX_PROMPT_CHARACTERS,
        threads=threads,
        memory_bytes=resident_bytes(),
        warmup_ms=(time.perf_counter() - started) * 1000,
        block_ms=timings.denoise + timings.clean + timings.decode,
        suggested_prompts=tuple(preset.suggested_prompts),
        adapters=tuple(facts.adapters),
        pid=os.getpid(),
    )


def _step(engine: LoadedEngine, stream: object) -> EngineBlock:
    block = engine.step(stream)
    assert block is not None, "a step that nobody interrupts gives a block"
    engine.commit(stream)
    return block
