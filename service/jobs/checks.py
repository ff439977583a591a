"""Whether a job can be what it is asked to be, as far as that is known before the engine sees it.

Knows requests and settings; nothing of SQL, files or the engine. Invariant: what is refused names its field and what
was expected; a request that passes is filled in, so that it says the same however often it is begun.
"""

import math
import secrets
from dataclasses import replace

from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError
from service.jobs.script import MOST_IN_A_SECOND
from service.jobs.values import JobRequest, TimedPrompt

MOST_PRIORITY = 1000


def checked(request: JobRequest, config: ServiceConfig) -> JobRequest:
    """The request with its model and seed. Raises ProtocolError."""
    _check_seconds(request.seconds, config)
    _check_timeline(request.timeline, config)
    if not -MOST_PRIORITY <= request.priority <= MOST_PRIORITY:
        raise _refused("priority", f"-{MOST_PRIORITY} to {MOST_PRIORITY}", request.priority)
    if request.decoder not in (None, config.decoder):
        raise _refused("decoder", f"the service's own ({config.decoder or 'the preset decides'})", request.decoder)
    if request.steps not in (None, len(config.steps or ())):
        raise _refused("steps", "none, for the model's own, or as many as the service's setting has", request.steps)
    seed = secrets.randbelow(2**63) if request.seed is None else request.seed
    if not 0 <= seed < 2**63:
        raise _refused("seed", "0 to 2^63-1", seed)
    return replace(request, model=request.model or config.preset, seed=seed)


def _check_seconds(seconds: float, config: ServiceConfig) -> None:
    if not math.isfinite(seconds) or not 0 < seconds <= config.max_seconds:
        raise _refused("seconds", f"above 0, and at most {config.max_seconds:g}", seconds)


def _check_timeline(timeline: tuple[TimedPrompt, ...], config: ServiceConfig) -> None:
    if not timeline:
        raise ProtocolError(ErrorCode.PROMPT_MISSING, "A job needs a prompt.", field="prompts", expected="at least one")
    if len(timeline) > config.max_timeline_prompts:
        raise _refused("prompts", f"at most {config.max_timeline_prompts}", len(timeline))
    if timeline[0].at != 0:
        raise _refused("prompts.0.at", "0: it is what the video begins with", timeline[0].at)
    for number, entry in enumerate(timeline[1:], 1):
        if not math.isfinite(entry.at) or entry.at <= timeline[number - 1].at:
            raise _refused(f"prompts.{number}.at", f"more than {timeline[number - 1].at:g}", entry.at)
        before = number - MOST_IN_A_SECOND
        if before >= 0 and entry.at < timeline[before].at + 1.0:
            expected = f"{timeline[before].at + 1.0:g} or later: at most {MOST_IN_A_SECOND} prompts begin in a second"
            raise _refused(f"prompts.{number}.at", expected, entry.at)


def _refused(field: str, expected: str, got: object) -> ProtocolError:
    message = f"Expected {field} {expected}; got {got!r:.64}."
    return ProtocolError(ErrorCode.FIELD_RANGE, message, field=field, expected=expected)
