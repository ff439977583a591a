"""The memory plan: what a model takes, what one more stream costs, and how many fit beside it.

`plan_preset` reckons it from a preset before anything is loaded; `plan_memory` from an engine and a stream that has
made a block. Both give the same account, which is printed, and refuse what does not fit with the arithmetic. Knows no
sessions: who may have a place is decided elsewhere, from this plan.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Final

import torch

from cache.kinds import CacheKind, cache_bytes, widened_bytes
from cache.kv import CacheShape
from models.config import LATENT_STRIDE_TIME, TransformerConfig
from models.errors import ConfigError
from models.lora import target_shapes
from models.parts import Parts
from models.pieces import make_decoder, make_transformer, make_word_encoder
from models.presets import Preset
from models.quantize import Quantize, held_bytes, weights_bytes
from models.stream import Stream
from models.umt5 import PlacedBytes, TextPlacement, umt5_bytes

HOST_SHARE: Final = 0.6
"""Of the host memory that is available; the rest is for the web server, encoders and the system."""
DEVICE_SHARE: Final = 0.95
"""Of the device memory that is free; the rest is for the allocator's gaps."""
SNAPSHOT_SHARE: Final = 0.25
"""Of the host memory that is left, for copies of streams, where the streams themselves live in it too."""
WORKSPACE_WIDTHS: Final = 8
"""Activations of a pass that are alive at once, in widths of the model, the hidden layer of the FFN aside."""
DECODED_COPIES: Final = 4
"""Activations of the decoder's widest layer that are alive at once."""
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes there are for models and streams. On a machine without a device both are the host's."""

    device_bytes: int
    host_bytes: int
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes, and the streams they make room for."""

    budget_bytes: int
    weights_bytes: int
    """Of the transformer."""
    text_encoder_bytes: int
    """On the device."""
    codec_bytes: int
    workspace_bytes: int
    cache_bytes: int
    text_bytes: int
    decoder_bytes: int
    history_bytes: int
    host_bytes: int
    """Of host memory that may be used, beside what is in it already."""
    host_weights_bytes: int
    """What of the model stays in host memory: a text encoder that is not on the device, weights without adapters."""
    placement: TextPlacement

    @property
    def model_bytes(self) -> int:
        return self.weights_bytes + self.text_encoder_bytes + self.codec_bytes

    @property
    def stream_bytes(self) -> int:
        return self.cache_bytes + self.text_bytes + self.decoder_bytes + self.history_bytes

    @property
    def max_streams(self) -> int:
        return max(0, self.budget_bytes - self.model_bytes - self.workspace_bytes) // self.stream_bytes

    @property
    def host_budget_bytes(self) -> int:
        """Host memory for copies of streams."""
        return max(0, self.host_bytes - self.host_weights_bytes)

    @property
    def snapshot_bytes(self) -> int:
        """An exact copy of a stream in host memory; its text is computed again."""
        return self.cache_bytes + self.decoder_bytes + self.history_bytes

    @property
    def max_snapshots(self) -> int:
        return self.host_budget_bytes // self.snapshot_bytes

    def lines(self) -> list[str]:
        """The account, for people."""
        placed = {"device": "on the device", "cpu": "computed on the host", "offload": "visits the device by layers"}
        rows = [
            ("transformer", self.weights_bytes, ""),
            ("text encoder", self.text_encoder_bytes, placed[self.placement]),
            ("decoder", self.codec_bytes, ""),
            ("workspace", self.workspace_bytes, "of the largest pass"),
            ("a stream", self.stream_bytes, self._of_a_stream()),
        ]
        lines = [f"{name:<14}{_gib(size):>10}  {note}".rstrip() for name, size, note in rows]
        lines.append(f"{'budget':<14}{_gib(self.budget_bytes):>10}  room for {self.max_streams} streams")
        host = f"room for {self.max_snapshots} copies of streams beside {_gib(self.host_weights_bytes)} of weights"
        return [*lines, f"{'host memory':<14}{_gib(self.host_bytes):>10}  {host}"]

    def _of_a_stream(self) -> str:
        shares = (("keys and values", self.cache_bytes), ("text", self.text_bytes), ("decoder", self.decoder_bytes))
        return ", ".join(f"{name} {_gib(size)}" for name, size in shares)

    def check(self) -> None:
        """Raise ConfigError, with the arithmetic, where not even one stream fits."""
        if self.max_streams < 1:
            message = (
                f"{self.budget_bytes} bytes of memory leave no room for a stream: weights {self.weights_bytes}, "
                f"text encoder {self.text_encoder_bytes}, decoder {self.codec_bytes}, "
                f"workspace {self.workspace_bytes}, a stream {self.stream_bytes}"
            )
            raise ConfigError(message, field="memory_budget_bytes")
        if self.host_weights_bytes > self.host_bytes:
            message = f"{self.host_bytes} bytes of host memory leave no room for {self.host_weights_bytes} of weights"
            raise ConfigError(message, field="memory_budget_bytes")


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB // 100 else f"{size / 2**20:.2f} MiB"


def room_of(device: torch.device, *, budget_bytes: int | None = None) -> Room:
    """What is free now; `budget_bytes` instead of it for the device, or for the host where there is none."""
    available = _available_bytes()
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return Room(budget_bytes or int(DEVICE_SHARE * free), int(HOST_SHARE * available))
    own = budget_bytes or int(HOST_SHARE * available)
    return Room(own, int(SNAPSHOT_SHARE * max(available - own, 0)), shared=True)


def plan_preset(
    preset: Preset,
    room: Room,
    *,
    quantize: Quantize = "none",
    adapted: bool = False,
    placement: TextPlacement | None = None,
    sessions: int = 1,
    kind: CacheKind = "full",
) -> MemoryPlan:
    """The plan of a preset that is not loaded; nothing is allocated.

    Args:
        adapted: adapters are known, for which the blocks' weights are kept in host memory as they were loaded.
        placement: of the text encoder; None puts it on the device where `sessions` streams fit beside it, or as many
            as without it, and else leaves it in host memory, from where its layers visit the device.
    """
    plan = _plan(preset, room, quantize=quantize, kept=_block_bytes(preset) if adapted else 0, kind=kind)
    if placement is not None or room.shared:
        return _placed(plan, preset, placement or "device", room)
    beside, away = _placed(plan, preset, "device", room), _placed(plan, preset, "offload", room)
    return beside if beside.max_streams >= min(sessions, away.max_streams) else away


def _placed(plan: MemoryPlan, preset: Preset, placement: TextPlacement, room: Room) -> MemoryPlan:
    encoder = _text_encoder_bytes(preset, placement)
    if room.shared:
        encoder = PlacedBytes(device=encoder.device + encoder.host, host=0)
    on_host = plan.host_weights_bytes + encoder.host
    return replace(plan, text_encoder_bytes=encoder.device, host_weights_bytes=on_host, placement=placement)


def _block_bytes(preset: Preset) -> int:
    """Of the linear layers that adapters may change."""
    return _itemsize(preset) * sum(prod(shape) for _, shape in target_shapes(preset.transformer))


def _plan(preset: Preset, room: Room, *, quantize: Quantize, kept: int, kind: CacheKind) -> MemoryPlan:
    """Without the text encoder; `kept` bytes of weights are in host memory."""
    config, video, spec = preset.transformer, preset.video, preset.window
    itemsize = _itemsize(preset)
    codec_bytes, decoder_bytes = _decoder_bytes(preset)
    latent_bytes = 2 * video.latent_channels * video.latent_height * video.latent_width
    blocks = -(-spec.slots // spec.block_frames)
    return MemoryPlan(
        budget_bytes=room.device_bytes,
        weights_bytes=weights_bytes(make_transformer(preset, torch.float32), quantize, itemsize=itemsize),
        text_encoder_bytes=0,
        codec_bytes=codec_bytes,
        workspace_bytes=workspace_bytes(preset, kind=kind),
        cache_bytes=cache_bytes(kind, spec, shape=cache_shape(preset), dtype=getattr(torch, preset.dtype)),
        text_bytes=2 * config.num_layers * config.text_len * config.dim * itemsize,
        decoder_bytes=decoder_bytes,
        history_bytes=blocks * spec.block_frames * latent_bytes,
        host_bytes=room.host_bytes,
        host_weights_bytes=kept,
        placement="device",
    )


def plan_memory(parts: Parts, stream: Stream, *, budget_bytes: int | None) -> MemoryPlan:
    """The plan for streams like this one, which has made at least one block, as they are seen to be.

    `budget_bytes` is for model, workspace and streams together; None takes a share of what is free now beside the
    model. Raises ConfigError, with the arithmetic, where not even one stream fits.
    """
    assert stream.history, "the sizes of decoder state and history are read from a stream that has made a block"
    text, beside, weights = stream.text, parts.beside, parts.weight_bytes
    room = room_of(parts.device, budget_bytes=budget_bytes)
    if budget_bytes is None:
        room = replace(room, device_bytes=room.device_bytes + weights + beside.text_encoder_bytes + beside.codec_bytes)
    plan = MemoryPlan(
        budget_bytes=room.device_bytes,
        weights_bytes=weights,
        text_encoder_bytes=beside.text_encoder_bytes,
        codec_bytes=beside.codec_bytes,
        workspace_bytes=workspace_bytes(parts.preset, kind=parts.passes.kind),
        cache_bytes=parts.cache_bytes,
        text_bytes=text.keys_LBTHD.nbytes + text.values_LBTHD.nbytes,
        decoder_bytes=sum(tensor.nbytes for tensor in stream.decoder.memory),
        history_bytes=stream.history[-1].nbytes * (stream.history.maxlen or 1),
        host_bytes=room.host_bytes + beside.host_bytes,
        host_weights_bytes=beside.host_bytes,
        placement=beside.placement,
    )
    plan.check()
    return plan


def cache_shape(preset: Preset) -> CacheShape:
    """Of one stream."""
    config, video = preset.transformer, preset.video
    tokens = config.tokens_per_frame(video.latent_height, video.latent_width)
    return CacheShape(
        layers=config.num_layers, heads=config.num_heads, head_dim=config.head_dim, tokens_per_frame=tokens
    )


def workspace_bytes(preset: Preset, *, kind: CacheKind = "full") -> int:
    """The larger of the largest pass, a recache of the whole window, and the decoder's widest layer."""
    config, itemsize, shape = preset.transformer, _itemsize(preset), cache_shape(preset)
    tokens = preset.window.slots * shape.tokens_per_frame
    widened = widened_bytes(kind, preset.window, shape=shape, dtype=getattr(torch, preset.dtype))
    return max(tokens * _pass_width(config) * itemsize + widened, _decoding_bytes(preset, itemsize))


def _itemsize(preset: Preset) -> int:
    dtype: torch.dtype = getattr(torch, preset.dtype)
    return dtype.itemsize


def _pass_width(config: TransformerConfig) -> int:
    return config.ffn_dim + WORKSPACE_WIDTHS * config.dim


def _decoding_bytes(preset: Preset, itemsize: int) -> int:
    """Of one latent frame: at full size all its frames, in the channels of the layer that makes the picture."""
    pixels = LATENT_STRIDE_TIME * preset.width * preset.height
    match preset.decoder:
        case "linear" | "refined":
            channels = 3
        case "tiny":
            channels = preset.tiny.head_width if preset.tiny else 64
        case "full":
            assert preset.vae is not None, "checked when the options were"
            channels = 2 * preset.vae.dim  # the layer that doubles the size has the channels of the stage before
    return DECODED_COPIES * channels * pixels * itemsize


def _text_encoder_bytes(preset: Preset, placement: TextPlacement) -> PlacedBytes:
    if preset.umt5 is not None:
        return umt5_bytes(preset.umt5, placement, itemsize=_itemsize(preset))
    with torch.device("meta"):
        return PlacedBytes(device=held_bytes(make_word_encoder(preset)), host=0)


def _decoder_bytes(preset: Preset) -> tuple[int, int]:
    """Weights, and what a stream's decoder remembers: seen on the meta device, where nothing is allocated."""
    video = preset.video
    with torch.device("meta"):
        decoder = make_decoder(preset).to(getattr(torch, preset.dtype))
        latent = torch.empty(video.latent_channels, video.latent_height, video.latent_width)
        state = decoder.start()
        for _ in range(3):  # the memory of the first latent frames may be smaller
            _, state = decoder.decode(latent, state)
    return held_bytes(decoder), sum(tensor.nbytes for tensor in state.memory)


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, size = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(size.split()[0])
    raise ConfigError("this host does not say how much memory is available; set it", field="memory_budget_bytes")
