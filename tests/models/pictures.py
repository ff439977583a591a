"""Pictures and films made on the spot, for tests of what a stream can begin with."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from models.vae import RGB24


def noise(width: int, height: int, *, seed: int = 0) -> RGB24:
    """[H, W, 3], another for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def halves(width: int, height: int) -> RGB24:
    """Red on the left, blue on the right, the uppermost quarter green."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[:, : width // 2, 0] = 255
    picture[:, width // 2 :, 2] = 255
    picture[: height // 4] = (0, 255, 0)
    return picture


def encoded(picture: RGB24, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def png(picture: RGB24) -> bytes:
    return encoded(picture, "PNG")


def write_film(path: Path, frames: RGB24, *, fps: int) -> Path:
    """Without loss, so that frames can be told apart."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return path
