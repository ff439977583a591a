"""The worker process: `python -m service.worker.main`, with its settings as one line of JSON on standard input.

Loads the engine, warms it up, says READY with the facts, runs the loop, and ends with a code that tells how. Knows
processes; knows nothing of blocks or the web. Invariants: a worker that ends with anything but 0 has said why (`Dead`)
if it could; it never outlives its parent; an error that may have left the device broken is never tried again here.
"""

import ctypes
import importlib
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from types import FrameType
from typing import BinaryIO, Protocol, cast

import msgspec

from models.errors import EngineError
from models.journal import WeightedPrompt
from service.channel import WorkerChannel
from service.ipc import Dead, Facts, IpcError, Ready
from service.worker.engine import Engine, EngineBlock
from service.worker.heartbeat import HeartbeatThread, resident_bytes, watch_parent
from service.worker.loop import Loop
from service.worker.settings import WorkerSettings, settings_from_json

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1


class ExitCode(IntEnum):
    DRAINED = 0
    ENGINE_FAILED = 1
    """The engine broke while it was serving."""
    START_FAILED = 2
    """The settings, the preset or its files cannot be used: starting again will not help by itself."""
    ORPHANED = 3
    """The parent process is gone."""
    CHANNEL_FAILED = 4
    """The API process does not read, or speaks something else."""


class Loaded(Engine, Protocol):
    """What a loader returns: an engine that also knows the facts about itself."""
