"""A job as a session of the engine: how it is started, and how its record stands in the store.

Knows messages and records; nothing of SQL, files or tasks. Invariants: the record of a job's session can be gone on
with live, as that of any session; a start behind some blocks gives what would have come without a break.
"""

import json

from service import ipc
from service.jobs.values import Job, JobRequest
from service.store.records import SessionRecord, StoredCourse

QUALITY = 85


def start_of(job: Job, *, course: ipc.Course | None, max_seconds: float, opening: bytes | None) -> ipc.Start:
    """Without credits: the first prompts are given before the first block may be made."""
    request = job.request
    return ipc.Start(
        session=job.id,
        prompts=tuple(ipc.Prompt(prompt.text, prompt.weight) for prompt in request.timeline[0].prompts),
        seed=request.seed,
        model=request.model,
        width=request.width,
        height=request.height,
        format="m4s",
        quality=QUALITY,
        pacing="none",
        max_seconds=max_seconds,
        credits=0,
        picture=opening,
        adapters=adapters_of(request),
        course=course,
        background=True,
    )


def adapters_of(request: JobRequest) -> tuple[ipc.Adapter, ...] | None:
    if request.adapters is None:
        return None
    return tuple(ipc.Adapter(adapter.name, adapter.scale) for adapter in request.adapters)


def course_of(course: StoredCourse) -> ipc.Course | None:
    """How it goes on; None where it begins."""
    if not course.rows:
        return None
    numbers = [str(json.loads(text).get("event_id", "")) for text in course.events]
    return ipc.Course(
        journal=course.journal,
        blocks=tuple(ipc.CourseBlock(row.sequence, row.frames) for row in course.rows),
        sequence=course.next_sequence,
        event_ids=tuple([number for number in numbers if number][-1:]),
    )


def empty_course() -> StoredCourse:
    return StoredCourse("", (), (), 0)


def begins_of(course: StoredCourse) -> tuple[int, ...]:
    """The first frame of each block."""
    begins, frames = [], 0
    for row in course.rows:
        begins.append(frames)
        frames += row.frames
    return tuple(begins)


def record_of(job: Job, event: ipc.Started, *, fingerprint: str, now: float) -> SessionRecord:
    """The session's record, with the options of a live session that goes on with it."""
    return SessionRecord(
        id=job.id,
        tenant=job.tenant,
        model=event.model,
        width=event.width,
        height=event.height,
        fps=event.fps,
        seed=event.seed,
        fingerprint=fingerprint,
        options=json.dumps(_options(job, event.seed), ensure_ascii=False),
        created_at=now,
        family=job.id,
    )


def _options(job: Job, seed: int) -> dict[str, object]:
    """As the WebSocket's `session.start` would have said it."""
    request = job.request
    said: dict[str, object] = {
        "type": "session.start",
        "prompts": [{"text": prompt.text, "weight": prompt.weight} for prompt in request.timeline[0].prompts],
        "seed": seed,
    }
    if request.model is not None:
        said["model"] = request.model
    if request.adapters is not None:
        said["adapters"] = [{"name": adapter.name, "scale": adapter.scale} for adapter in request.adapters]
    return said
