"""A take as a camera that video calls can choose: Linux, with the module v4l2loopback.

    sudo modprobe v4l2loopback devices=1 card_label=Longtake exclusive_caps=1
    python -m client.examples.camera --device /dev/video0

Any other file takes the frames too, as raw YUYV pictures behind each other.
Knows the client and the ioctl that sets a device's format (linux/videodev2.h). Invariant: frames go out at their times.
"""

import argparse
import asyncio
import fcntl
import stat
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from client.examples.arguments import parser
from client.library import Client

_SET_FORMAT = 0xC0D05605  # VIDIOC_S_FMT
_OUTPUT, _NOT_INTERLACED, _SRGB = 2, 1, 8


def yuyv(frame: npt.NDArray[np.uint8]) -> bytes:
    """A picture (uint8 [height, width, 3], RGB) in the format that cameras speak; the width is even. BT.601, narrow."""
    pixels = frame.astype(np.float32)
    luma = pixels @ np.array([0.257, 0.504, 0.098], np.float32) + 16
    pairs = (pixels[:, 0::2] + pixels[:, 1::2]) / 2
    blue = pairs @ np.array([-0.148, -0.291, 0.439], np.float32) + 128
    red = pairs @ np.array([0.439, -0.368, -0.071], np.float32) + 128
    packed = np.stack([luma[:, 0::2], blue, luma[:, 1::2], red], axis=-1)
    return packed.round().clip(0, 255).astype(np.uint8).tobytes()


def format_request(width: int, height: int) -> bytes:
    """A struct v4l2_format that asks for YUYV pictures of this size."""
    picture = struct.pack(
        "<8I", width, height, int.from_bytes(b"YUYV", "little"), _NOT_INTERLACED, 2 * width, 0, _SRGB, 0
    )
    head = struct.pack("<I4x", _OUTPUT)
    return (head + picture + struct.pack("<I", 2 * width * height)).ljust(208, b"\0")


async def film(options: argparse.Namespace) -> int:
    """The number of frames that were written."""
    frames, begun = 0, 0.0
    async with Client(options.url, options.api_key).session(options.prompt, seconds=options.seconds) as take:
        with options.device.open("wb", buffering=0) as device:
            if stat.S_ISCHR(options.device.stat().st_mode):
                fcntl.ioctl(device, _SET_FORMAT, format_request(take.info.width, take.info.height))
            async for frame in take:
                begun = begun or time.monotonic()
                await asyncio.sleep(max(0.0, begun + frame.number / take.info.fps - time.monotonic()))
                device.write(yuyv(frame.numpy()))
                frames += 1
    return frames


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser(__doc__)
    made.add_argument("--device", type=Path, default=Path("/dev/video0"), help="the camera, or a file")
    print(asyncio.run(film(made.parse_args(arguments))), "frames shown")


if __name__ == "__main__":
    main()
