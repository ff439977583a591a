"""Which text a block is made under: a pure function of the events and the block, blends included.

A weighted prompt is the weighted mean of embeddings. Over a transition of N blocks the embedding moves in N equal
steps from what the block before it was made under to the new target. Knows no cache and no stream.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.journal import Event, PromptEvent, WeightedPrompt

Encode = Callable[[str], Tensor]
"""Prompt -> embedding [text_len, text_dim] in float32, zero past the prompt's length."""


def target_embedding(encode: Encode, prompts: Sequence[WeightedPrompt]) -> Tensor:
    """The embedding that a change leads to."""
    if len(prompts) == 1:
        return encode(prompts[0].text)
    total = sum(prompt.weight for prompt in prompts)
    return torch.stack([encode(prompt.text) * (prompt.weight / total) for prompt in prompts]).sum(0)


def embedding_at(encode: Encode, events: Sequence[Event], *, block: int) -> Tensor:
    """The embedding that `block` is made under, given the events that took effect at it or before."""
    unfinished: list[tuple[PromptEvent, float]] = []
    at = block
    for event in reversed(events):
        if not isinstance(event, PromptEvent) or event.block > at:
            continue
        share = (at - event.block + 1) / max(event.transition_chunks, 1)
        # Before block 0 nothing was shown that a blend could start from.
        if share >= 1 or event.block == 0:
            embedding = target_embedding(encode, event.prompts)
            break
        unfinished.append((event, share))
        at = event.block - 1
    else:
        raise AssertionError("a timeline begins with a prompt at block 0")
    for event, share in reversed(unfinished):
        embedding = torch.lerp(embedding, target_embedding(encode, event.prompts), share)
    return embedding
