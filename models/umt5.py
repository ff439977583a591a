"""Prompts to embeddings with the encoder half of UMT5, the text encoder of the Wan family.

Shapes: L = text_len rows, D = width of the encoder. Rows past the prompt's length are exactly zero and are part of
what the transformer reads. The network is the library's; original checkpoints' names are brought to its own. One
prompt at a time, padded to a multiple of a few rows only: padding is masked, so what is kept does not depend on it.
Where the weights are is for the memory plan to say. Knows nothing of the transformer.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.config import Umt5Config
from models.errors import ConfigError
from models.text import EncodedPrompt
from models.tokenizer import PromptTokenizer

TextPlacement = Literal["device", "cpu", "offload"]
"""Weights on the device; on the host, which also computes; or on the host and on the device layer by layer."""

TEXT_LENGTH = 512
PADDED_TO = 64
"""Rows: a prompt is encoded in one of a few shapes instead of always in the longest."""


class Umt5Encoder(nn.Module):
    """A `TextEncoder`. Make it on the meta device, fill `model` from files (`umt5_name`), then `place` it."""

    def __init__(self, config: Umt5Config, tokenizer: PromptTokenizer, *, text_len: int = TEXT_LENGTH) -> None:
        super().__init__()
        if tokenizer.vocabulary > config.vocabulary:
            message = f"a tokenizer for this encoder has at most {config.vocabulary} pieces, not {tokenizer.vocabulary}"
            raise ConfigError(message, field="vocabulary")
        self.config = config
        self.text_len = text_len
        self._tokenizer = tokenizer
        self.model = _library_model(config)
        self.eval().requires_grad_(False)
        self._device = torch.device("cpu")
        self._visits: _LayerVisits | None = None

    def place(self, placement: TextPlacement, device: torch.device | str) -> None:
        """Put the weights where they belong; may be called again."""
        if self._visits is not None:
            self._visits.end()
            self._visits = None
        self.model.to(device if placement == "device" else "cpu")
        self._device = torch.device("cpu" if placement == "cpu" else device)
        if placement == "offload":
            layers = [*self.model.encoder.block, self.model.encoder.final_layer_norm]
            self._visits = _LayerVisits(layers, self._device)

    @torch.inference_mode()
    def encode(self, prompt: str) -> EncodedPrompt:
        tokens = self._tokenizer.tokenize(prompt, limit=self.text_len)
        length = len(tokens.ids)
        rows = min(-(-length // PADDED_TO) * PADDED_TO, self.text_len)
        ids = torch.full((1, rows), self._tokenizer.padding)
        ids[0, :length] = torch.tensor(tokens.ids)
        mask = (torch.arange(rows) < length).long()[None]
        encoded_LD = self._run(ids, mask)[0, :length]
        return EncodedPrompt(
            embedding=pad(encoded_LD.float().cpu(), (0, 0, 0, self.text_len - length)),
            length=length,
            kept_characters=tokens.kept_characters,
            unknown_words=tokens.unknown_words,
        )

    def _run(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        table: nn.Embedding = self.model.shared
        embedded_BLD = table(ids_BL.to(table.weight.device)).to(self._device)
        with self._layers_at_home():
            output = self.model(inputs_embeds=embedded_BLD, attention_mask=mask_BL.to(self._device))
        encoded: Tensor = output.last_hidden_state
        return encoded

    @contextmanager
    def _layers_at_home(self) -> Iterator[None]:
        """Afterwards, come what may, no layer is on a visit."""
        try:
            yield
        finally:
            if self._visits is not None:
                self._visits.return_all()


class _LayerVisits:
    """Each layer's weights are copied to the device when it begins to run, and the copies dropped when it has run."""

    def __init__(self, layers: list[nn.Module], device: torch.device) -> None:
        self._device = device
        self._away: list[tuple[nn.Parameter, Tensor]] = []
        self._hooks = [layer.register_forward_pre_hook(self._visit) for layer in layers]
        self._hooks += [layer.register_forward_hook(self._leave) for layer in layers]

    def return_all(self) -> None:
        for parameter, home in self._away:
            parameter.data = home
        self._away.clear()

    def end(self) -> None:
        self.return_all()
        for hook in self._hooks:
            hook.remove()

    def _visit(self, layer: nn.Module, inputs: Any) -> None:
        for parameter in layer.parameters():
            self._away.append((parameter, parameter.data))
            parameter.data = parameter.data.to(self._device, copy=True)

    def _leave(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        self.return_all()


def _library_model(config: Umt5Config) -> Any:
    """The library's encoder, without the second name of its table of pieces."""
    # Imported where it is used: slow, and only the published checkpoints need it.
    try:
        from transformers import UMT5Config, UMT5EncoderModel
    except ModuleNotFoundError as error:
        message = f"the text encoder needs the package {error.name}: install longtake[checkpoints]"
        raise ConfigError(message, field="model") from error
    model: Any = UMT5EncoderModel(
        UMT5Config(
            vocab_size=config.vocabulary,
            d_model=config.dim,
            d_kv=config.head_dim,
            d_ff=config.ffn_dim,
            num_layers=config.layers,
            num_heads=config.heads,
            relative_attention_num_buckets=config.buckets,
            relative_attention_max_distance=config.max_distance,
            layer_norm_epsilon=config.eps,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        )
    )
    # The encoder is given embeddings, so that the table may stay on the host.
    model.encoder.embed_tokens = nn.Identity()
    return model


_TIED = "encoder.embed_tokens.weight"
_WHOLE = {"token_embedding.weight": "shared.weight", "norm.weight": "encoder.final_layer_norm.weight"}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.weight")
_IN_BLOCK = {
    "norm1": "layer.0.layer_norm",
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}


def umt5_name(name: str) -> str:
    """The name in `Umt5Encoder.model` of a tensor in an original file or one of the library's; "" to leave it out.

    What is neither is returned as it is, to be found unexpected.
    """
    if name == _TIED:
        return ""
    match = _BLOCK.fullmatch(name)
    if match is None or match[2] not in _IN_BLOCK:
        return _WHOLE.get(name, name)
    return f"encoder.block.{match[1]}.{_IN_BLOCK[match[2]]}.weight"


@dataclass(frozen=True, slots=True)
class PlacedBytes:
    """Bytes of weights on the device and on the host; on a machine without a device they are one memory."""

    device: int
    host: int


def umt5_bytes(config: Umt5Config, placement: TextPlacement, *, itemsize: int) -> PlacedBytes:
    """What the encoder's weights take where they are placed."""
    inner = config.heads * config.head_dim
    layer = 4 * config.dim * inner + 3 * config.dim * config.ffn_dim + 2 * config.dim + config.buckets * config.heads
    whole = itemsize * ((config.vocabulary + 1) * config.dim + config.layers * layer)
    if placement == "device":
        return PlacedBytes(device=whole, host=0)
    return PlacedBytes(device=itemsize * layer if placement == "offload" else 0, host=whole)
