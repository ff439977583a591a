"""The official clients of the API whose shape `/v1/videos` has, unchanged, against the real service and the demo model.

Python's is the installed one, Node's is pinned by tests/e2e/openai_node/package-lock.json. Both make the same video, so
their downloads are the same bytes but for the job's name in them; equalities only.
"""

import io
import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import openai
import pytest

from tests.models.pictures import noise, png
from tests.serving import running_service

pytestmark = pytest.mark.system

NODE = Path(__file__).parent / "openai_node"
PROMPT = "a red ball bounces over a grassy meadow by day"
LATER = [{"at": 1, "prompt": "a purple box sways in the city at night"}]
LIMIT = 400


@pytest.fixture(name="url", scope="module")
def _url() -> Iterator[str]:
    with running_service() as address:
        yield f"http://{address}/v1"


@pytest.fixture(name="client")
def _client(url: str) -> Iterator[Any]:
    """Without types: those of the client know the lengths, sizes and fields of its maker's models only."""
    with warnings.catch_warnings():
        # The maker of the client has announced the end of its own service; the calls are as they were.
        warnings.simplefilter("ignore", DeprecationWarning)
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            yield client


def frames_in(content: bytes) -> list[npt.NDArray[np.uint8]]:
    with av.open(io.BytesIO(content), mode="r") as container:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)]


def made_by_python(client: Any) -> tuple[Any, bytes]:
    video = client.videos.create_and_poll(
        prompt=PROMPT,
        model="demo",
        seconds="2",
        size="96x96",
        extra_body={"seed": 5, "prompts": LATER},
        poll_interval_ms=200,
    )
    return video, client.videos.download_content(video.id).read()


def test_python_makes_fetches_lists_remixes_and_deletes(client: Any) -> None:
    video, content = made_by_python(client)
    assert (video.object, video.status, video.progress, video.error) == ("video", "completed", 100, None)
    assert (video.seconds, video.size, video.model, video.prompt) == ("2", "96x96", "demo", PROMPT)
    assert video.completed_at is not None
    assert video.expires_at is not None
    assert video.created_at <= video.completed_at < video.expires_at
    assert len(frames_in(content)) == 32
    sheet = client.videos.download_content(video.id, variant="spritesheet").read()
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    assert len(sheet) > len(thumbnail) > 100
    picture = ("../../picture.png", png(noise(60, 40)))
    referenced = client.videos.create(prompt=PROMPT, input_reference=picture, seconds="2")
    remixed = client.videos.remix(video.id, prompt="a blue star bounces in the desert at sunset")
    assert remixed.remixed_from_video_id == video.id
    listed = [item.id for item in client.videos.list(limit=1)]
    assert listed[-3:] == [remixed.id, referenced.id, video.id]
    deleted = client.videos.delete(referenced.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (referenced.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError) as gone:
        client.videos.retrieve(referenced.id)
    assert gone.value.code == "video_unknown"


def test_python_is_refused_in_words_it_understands(client: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.videos.create(prompt=PROMPT, seconds="0")
    assert (refused.value.code, refused.value.param) == ("field_range", "seconds")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.videos.create(prompt=PROMPT, model="sora-2")
    assert (unknown.value.code, unknown.value.param) == ("model_unknown", "model")
    failed = client.videos.create_and_poll(prompt=PROMPT, seconds="2", size="7x7", poll_interval_ms=200)
    assert (failed.status, failed.error and failed.error.code) == ("failed", "size_invalid")


def node(url: str, folder: Path) -> dict[str, Any]:
    """What the script saw, run with exactly the packages of the lock."""
    shutil.copytree(NODE, folder / "node")
    (folder / "picture.png").write_bytes(png(noise(60, 40)))
    installed = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    for command in (installed, ["node", "whole.mjs", url, str(folder / "picture.png")]):
        ran = subprocess.run(command, cwd=folder / "node", capture_output=True, text=True, timeout=LIMIT, check=False)
        assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said


def test_node_does_the_same(url: str, client: Any, tmp_path: Path) -> None:
    video, content = made_by_python(client)
    said = node(url, tmp_path)
    theirs = said["video"]
    assert (said["first"], theirs["status"], said["mp4"]) == ("queued", "completed", "ftyp")
    assert (theirs["seconds"], theirs["size"], theirs["seed"], theirs["frames"]) == ("2", "96x96", 5, 32)
    assert theirs["prompts"] == json.loads(video.model_dump_json())["prompts"]
    fetched = client.videos.download_content(theirs["id"]).read()
    assert np.array_equal(frames_in(fetched), frames_in(content))
    assert said["thumbnail"] > 100
    assert said["remixed"] == theirs["id"]
    assert {theirs["id"], said["referenced"]} <= set(said["listed"])
    assert said["refused"] == {
        "kind": "UnprocessableEntityError",
        "status": 422,
        "code": "field_range",
        "param": "seconds",
    }
    assert said["deleted"] == {"id": said["referenced"], "object": "video.deleted", "deleted": True}
    assert said["gone"] == {"kind": "NotFoundError", "code": "video_unknown"}


def test_the_lock_names_no_registry() -> None:
    lock = (NODE / "package-lock.json").read_text("utf-8")
    packages = json.loads(lock)["packages"]
    assert "resolved" not in lock
    assert [name for name, facts in packages.items() if name and "integrity" not in facts] == []
