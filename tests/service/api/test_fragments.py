"""The head of a session in fragments: told to whoever comes, and told again where it has become another."""

from base64 import b64decode

import pytest

from service.protocol.client import SessionControl, SessionJoin, SessionResume, SessionStart
from service.protocol.server import MediaInit, SessionControlApplied, SessionResumed, VideoStart
from tests.service.api.running import PATIENT, Received, Talk, running

START = SessionStart(prompt="a lighthouse", seed=5, pacing="none", format="m4s")


async def media(talk: Talk) -> MediaInit:
    heard = (await talk.hear_until(MediaInit))[-1].message
    assert isinstance(heard, MediaInit)
    return heard


def head_of(told: MediaInit) -> bytes:
    assert (told.format, told.codec) == ("m4s", "avc1.64000a")
    return b64decode(told.init or "")


async def test_everybody_who_comes_is_told_the_head() -> None:
    async with running(PATIENT) as service:
        service.worker.worker.head = b"head"
        async with service.connection() as talk, service.connection() as other:
            await talk.say(START)
            start = (await talk.hear_until(VideoStart))[-1].message
            assert isinstance(start, VideoStart)
            assert head_of(await media(talk)) == b"head"
            await other.say(SessionJoin(session_id=start.session_id))
            assert head_of(await media(other)) == b"head"
            await talk.say(SessionControl(action="quality", quality=30))
            await talk.hear_until(SessionControlApplied)
            changed = await media(talk)
            assert (head_of(changed), changed.quality) == (b"head", 30)
            async with service.connection() as again:
                await again.say(SessionResume(session_id=start.session_id, resume_token=start.resume_token or ""))
                assert head_of(await media(again)) == b"head"


@pytest.mark.parametrize("head", [b"head", b"another"])
async def test_after_a_lost_worker_the_head_is_told_again_only_where_it_is_another(head: bytes) -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        service.worker.worker.head = b"head"
        await talk.say(START)
        assert head_of(await media(talk)) == b"head"
        service.worker.worker.head = head
        service.kill_worker()
        await service.new_worker()
        heard: list[Received] = await talk.hear_until(SessionResumed)
        told = [item.message for item in heard if isinstance(item.message, MediaInit)]
        assert [head_of(message) for message in told] == ([] if head == b"head" else [b"another"])


async def test_other_formats_have_none() -> None:
    async with running(PATIENT) as service, service.connection() as talk:
        await talk.say(START.model_copy(update={"format": "jpeg"}))
        told = await media(talk)
        assert (told.codec, told.init) == (None, None)
