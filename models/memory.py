"""The memory plan: what one more stream costs, and how many fit beside the weights into a budget.

Plain arithmetic on sizes read from a stream that has made a block. Knows no sessions: who may have a place is decided
elsewhere, from this plan.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from models.errors import ConfigError
from models.parts import Parts
from models.stream import Stream

HOST_SHARE = 0.6
"""Of the host memory that is available; the rest is for the web server, encoders and the system."""
DEVICE_SHARE = 0.95
"""Of the device memory that is free; the rest is for the allocator's gaps."""
WORKSPACE_WIDTHS = 8
"""Activations of a pass that are alive at once, in widths of the model, the hidden layer of the FFN aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes, and the streams they make room for."""

    budget_bytes: int
    weights_bytes: int
    workspace_bytes: int
    cache_bytes: int
    text_bytes: int
    decoder_bytes: int
    history_bytes: int

    @property
    def stream_bytes(self) -> int:
        return self.cache_bytes + self.text_bytes + self.decoder_bytes + self.history_bytes

    @property
    def max_streams(self) -> int:
        return max(0, self.budget_bytes - self.weights_bytes - self.workspace_bytes) // self.stream_bytes


def plan_memory(parts: Parts, stream: Stream, *, budget_bytes: int | None) -> MemoryPlan:
    """The plan for streams like this one, which has made at least one block.

    `budget_bytes` is for weights, workspace and streams together; None takes a share of what is free now. Raises
    ConfigError, with the arithmetic, where not even one stream fits.
    """
    assert stream.history, "the sizes of decoder state and history are read from a stream that has made a block"
    weights, text = parts.weight_bytes, stream.text
    plan = MemoryPlan(
        budget_bytes=_free_bytes(parts.device) + weights if budget_bytes is None else budget_bytes,
        weights_bytes=weights,
        workspace_bytes=_workspace_bytes(parts),
        cache_bytes=parts.cache_bytes,
        text_bytes=text.keys_LBTHD.nbytes + text.values_LBTHD.nbytes,
        decoder_bytes=sum(tensor.nbytes for tensor in stream.decoder.memory),
        history_bytes=stream.history[-1].nbytes * (stream.history.maxlen or 1),
    )
    if plan.max_streams < 1:
        message = (
            f"{plan.budget_bytes} bytes of memory leave no room for a stream: weights {plan.weights_bytes}, "
            f"workspace {plan.workspace_bytes}, a stream {plan.stream_bytes}"
        )
        raise ConfigError(message, field="memory_budget_bytes")
    return plan


def _workspace_bytes(parts: Parts) -> int:
    """The largest pass is a recache of the whole window."""
    config, video = parts.passes.transformer.config, parts.preset.video
    tokens = parts.spec.slots * config.tokens_per_frame(video.latent_height, video.latent_width)
    return tokens * (config.ffn_dim + WORKSPACE_WIDTHS * config.dim) * parts.dtype.itemsize


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(DEVICE_SHARE * free)
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, size = line.partition(":")
        if name == "MemAvailable":
            return int(HOST_SHARE * 1024 * int(size.split()[0]))
    raise ConfigError("this host does not say how much memory is available; set it", field="memory_budget_bytes")
