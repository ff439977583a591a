"""Prompts to embeddings: the encoder interface, the demo's word encoder, and a bounded cache around either.

Shapes: B prompts, L = text_len tokens, D = text_dim.
An embedding is float32 and exactly zero past the prompt's length. Prompts are encoded one at a time, so the
numbers do not depend on what else is encoded. Knows nothing of the transformer that reads the embedding; the
module trained by `models.train` and the one that serves are the same.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import ConfigError

PAD = "<pad>"
UNKNOWN = "<unk>"
PAD_TOKEN = 0
UNKNOWN_TOKEN = 1

_WORD = re.compile("[^\\W_]+(?:['\u2019][^\\W_]+)*")  # with straight or curly apostrophes inside


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the transformer reads it, and how much of it was understood. The embedding is read-only."""

    embedding: Tensor  # [L, D], float32, zero past `length`
    length: int  # tokens
    kept_characters: int  # how far the prompt was read; all of it where nothing was cut
    unknown_words: tuple[str, ...]  # in order, each once


class TextEncoder(Protocol):
    def encode(self, prompt: str) -> EncodedPrompt: ...


@dataclass(frozen=True, slots=True)
class WordEncoderConfig:
    """Sizes and words of the word encoder; a word's token is its place in the vocabulary."""

    vocabulary: tuple[str, ...] = (PAD, UNKNOWN)
    dim: int = 96
    text_len: int = 32
    heads: int = 3
    layers: int = 1

    def __post_init__(self) -> None:
        for name, least in (("dim", 1), ("text_len", 1), ("heads", 1), ("layers", 0)):
            if getattr(self, name) < least:
                found = getattr(self, name)
                raise ConfigError(f"expected {name} of {least} or more, got {found}", field=name)
        if self.dim % self.heads:
            raise ConfigError(f"expected heads to divide dim {self.dim}, got {self.heads}", field="heads")
        problem = _vocabulary_problem(self.vocabulary)
        if problem is not None:
            raise ConfigError(problem, field="vocabulary")


def _vocabulary_problem(vocabulary: tuple[str, ...]) -> str | None:
    if vocabulary[:2] != (PAD, UNKNOWN):
        return f"expected a vocabulary from {PAD!r}, {UNKNOWN!r} on, got {vocabulary[:2]}"
    twice = [a for a, b in pairwise(sorted(vocabulary)) if a == b]
    if twice:
        return f"expected each word once in the vocabulary, got {twice} more than once"
    strange = [word for word in vocabulary[2:] if split_words(word) != [(word, len(word))]]
    if strange:
        return f"expected lower-case words as they are split from a prompt, got {strange}"
    return None


def split_words(prompt: str) -> list[tuple[str, int]]:
    """Each lower-cased word with the offset at which it ends in the prompt; punctuation is dropped."""
    return [(match.group().lower().replace("\u2019", "'"), match.end()) for match in _WORD.finditer(prompt)]


class WordEncoder(nn.Module):
    """A word embedding, learned positions and a few transformer layers that see the whole prompt."""

    def __init__(self, config: WordEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self._tokens = {word: token for token, word in enumerate(config.vocabulary)}
        self.word_embedding = nn.Embedding(len(config.vocabulary), config.dim)
        self.position_embedding = nn.Parameter(torch.randn(config.text_len, config.dim) * 0.2)
        self.layers = nn.ModuleList(_Layer(config.dim, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Embeddings [B, L, D], exactly zero where the token is padding."""
        if tokens_BL.ndim != 2 or tokens_BL.shape[1] > self.config.text_len:
            raise ValueError(f"expected tokens [B, L <= {self.config.text_len}], got {list(tokens_BL.shape)}")
        length = tokens_BL.shape[1]
        real_BL = tokens_BL != PAD_TOKEN
        # A padding token sees itself, so that no row of the softmax is empty (it would be NaN).
        itself = torch.eye(length, dtype=torch.bool, device=tokens_BL.device)
        visible_B1LL = (real_BL[:, None, :] | itself)[:, None]
        x_BLD: Tensor = self.word_embedding(tokens_BL) + self.position_embedding[:length]
        for layer in self.layers:
            x_BLD = layer(x_BLD, visible_B1LL)
        normed_BLD: Tensor = self.norm(x_BLD)
        return normed_BLD.masked_fill(~real_BL[..., None], 0.0)

    def tokenize(self, prompt: str) -> Tensor:
        """Tokens int64 [L], padded; words past the text length are cut."""
        words = split_words(prompt)[: self.config.text_len]
        tokens = [self._tokens.get(word, UNKNOWN_TOKEN) for word, _ in words]
        return torch.tensor(tokens + [PAD_TOKEN] * (self.config.text_len - len(tokens)), dtype=torch.int64)

    @torch.no_grad()
    def encode(self, prompt: str) -> EncodedPrompt:
        words = split_words(prompt)
        kept = words[: self.config.text_len]
        tokens_BL = self.tokenize(prompt)[None].to(self.position_embedding.device)
        embedding_BLD: Tensor = self(tokens_BL)
        unknown = dict.fromkeys(word for word, _ in kept if word not in self._tokens)
        return EncodedPrompt(
            embedding=embedding_BLD[0].float(),
            length=len(kept),
            kept_characters=len(prompt) if len(kept) == len(words) else kept[-1][1],
            unknown_words=tuple(unknown),
        )


class _Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))

    def forward(self, x_BLD: Tensor, visible_B1LL: Tensor) -> Tensor:
        batch, length, dim = x_BLD.shape
        qkv: Tensor = self.qkv(self.attention_norm(x_BLD))
        query, key, value = qkv.view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible_B1LL)
        x_BLD = x_BLD + self.out(attended.transpose(1, 2).flatten(2))
        result: Tensor = x_BLD + self.ffn(self.ffn_norm(x_BLD))
        return result


class CachedTextEncoder:
    """Remembers the most recently used prompts of another encoder, without their rows of zeros. For one thread."""

    def __init__(self, encoder: TextEncoder, *, capacity: int = 64) -> None:
        if capacity < 1:
            raise ValueError(f"expected a capacity of at least 1 prompt, got {capacity}")
        self._encoder = encoder
        self._capacity = capacity
        self._prompts: OrderedDict[str, EncodedPrompt] = OrderedDict()
        self._rows = 0

    def __len__(self) -> int:
        return len(self._prompts)

    def encode(self, prompt: str) -> EncodedPrompt:
        encoded = self._prompts.get(prompt)
        if encoded is None:
            encoded = self._encoder.encode(prompt)
            self._rows = len(encoded.embedding)
            # Of 512 rows of a large encoder a prompt fills a few dozen: the rest would be most of the memory.
            encoded = replace(encoded, embedding=encoded.embedding[: encoded.length].clone())
            if len(self._prompts) == self._capacity:
                self._prompts.popitem(last=False)
            self._prompts[prompt] = encoded
        self._prompts.move_to_end(prompt)
        return replace(encoded, embedding=F.pad(encoded.embedding, (0, 0, 0, self._rows - encoded.length)))

    @property
    def bytes(self) -> int:
        """Of all embeddings it holds."""
        return sum(encoded.embedding.nbytes for encoded in self._prompts.values())
