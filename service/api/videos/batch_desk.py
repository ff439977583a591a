"""What becomes of a batch: every line a job, all of them or none.

It knows the desk of videos and the queue; nothing of routes. Invariants: nothing is kept of a batch of which one line
is refused; the files that its lines begin with have a bound together.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from fastapi import Request

from service.access.principal import Principal
from service.api.videos.answers import BatchObject, batch_of
from service.api.videos.asking import VideoRequest
from service.api.videos.batch_file import at_line, lines_of
from service.api.videos.desk import VideoDesk, idempotency_key
from service.errors import ErrorCode, ProtocolError
from service.jobs.values import BatchItem, Idempotency

MOST_URLS = 64
"""Different URLs of pictures, and of webhooks, in one batch: each is asked once."""
PAGE = 100
_LINES_AT_ONCE = 32


@dataclass(slots=True)
class _Known:
    """What the lines of one batch have in common, asked for once."""

    openings: dict[str, bytes] = field(default_factory=dict)
    webhooks: set[str] = field(default_factory=set)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class BatchDesk:
    desk: VideoDesk

    async def create(self, principal: Principal, request: Request, *, name: str | None, priority: int) -> BatchObject:
        """Raises ProtocolError or SessionError."""
        key = idempotency_key(request)
        data = await self.desk.uploads.lines(request)
        items = await self._items(principal, data, priority=priority)
        metadata = {} if name is None else {"name": name}
        said = f"POST /v1/batches {name!r} {priority}".encode()
        fingerprint = hashlib.sha256(said + hashlib.sha256(data).digest()).hexdigest()
        made = await self.desk.jobs.create_batch(
            principal,
            tuple(items),
            metadata=metadata,
            idempotency=None if key is None else Idempotency(key, fingerprint),
        )
        return batch_of(made)

    async def _items(self, principal: Principal, data: bytes, *, priority: int) -> list[BatchItem]:
        known = _Known()
        items: list[BatchItem] = []
        for line in lines_of(data, self.desk.config):
            asked = line.request
            if "priority" not in asked.model_fields_set:
                asked = asked.model_copy(update={"priority": priority})
            try:
                opening = await self._opening(asked, known)
                job = await self.desk.prepared(principal, await self._vetted(asked, known))
            except ProtocolError as error:
                raise at_line(error, line.number) from None
            job = replace(job, webhook_url=asked.webhook_url)
            items.append(BatchItem(request=job, custom_id=line.custom_id, opening=opening))
            if len(items) % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # thousands of lines: others are served in between
        return items

    async def _vetted(self, asked: VideoRequest, known: _Known) -> VideoRequest:
        """The request without its webhook's URL, which is asked about once for all lines that have it."""
        url = asked.webhook_url
        if url is None or url in known.webhooks:
            return asked.model_copy(update={"webhook_url": None})
        _check_number(known.webhooks, "webhook_url")
        await self.desk.outbound.vet(url, field="webhook_url")
        known.webhooks.add(url)
        return asked.model_copy(update={"webhook_url": None})

    async def _opening(self, asked: VideoRequest, known: _Known) -> bytes | None:
        reference = asked.input_reference
        if reference is None:
            return None
        url = reference.image_url
        if url not in known.openings:
            _check_number(known.openings, "input_reference")
            data = await self.desk.references.take(reference, None)
            assert data is not None
            known.openings[url] = data
            known.bytes += len(data)
            if known.bytes > self.desk.config.max_batch_bytes:
                message = (
                    f"The pictures and clips of the batch have more than {self.desk.config.max_batch_bytes} bytes."
                )
                raise ProtocolError(ErrorCode.BATCH_INVALID, message, field="input_reference")
        return known.openings[url]

    async def results(self, principal: Principal, batch: str, *, after: str | None, limit: int) -> AsyncIterator[str]:
        """The jobs that are over, one a line, in the order in which they ended."""
        left = limit
        while left > 0:
            page = await self.desk.jobs.results(principal, batch, after=after, limit=min(PAGE, left))
            for job in page.jobs:
                yield self.desk.said(job).model_dump_json() + "\n"
                after = job.id
            left -= len(page.jobs)
            if not page.has_more or not page.jobs:
                return

    async def wait(self, principal: Principal, batch: str, *, timeout: float) -> BatchObject:
        """As it stands once it is over, or then."""
        bounded = min(timeout, self.desk.config.max_wait)
        return batch_of(await self.desk.jobs.wait_batch(principal, batch, timeout=bounded))


def _check_number(known: "dict[str, bytes] | set[str]", field_name: str) -> None:
    if len(known) >= MOST_URLS:
        message = f"The batch has more than {MOST_URLS} different URLs."
        raise ProtocolError(ErrorCode.BATCH_INVALID, message, field=field_name, expected=f"at most {MOST_URLS}")
