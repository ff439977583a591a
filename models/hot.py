"""The hot path: a pass as one small pure function per block, over whatever form of the fused operations is chosen.

Computes what `Transformer.forward` computes (held equal by tests and by the published code's tensors), with what does
not change taken out: the modulation of each step is added up once, queries, keys and values come out of one matrix,
positions and slots are tensors made once a block. Shapes depend on the pass's plan alone, so a compiler sees few of
them, and none that is new once the window is full. Knows no cache policy, no stream.

Legend: as models/transformer.py; L layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cache.int8 import Codes, Int8KVCache, put, quantise, widen
from cache.kv import KVCache
from cache.window import PassPlan
from models.attention import Kernel, attention
from models.heads import attend_apart
from models.kernels.forms import CodedMemory, FusedInputs, LayerMemory, Near, Ops, Turn
from models.rope import Rotation
from models.transformer import Block, Head, PassContext, SelfAttention, TimeEmbedding, Transformer


@dataclass(frozen=True, slots=True)
class BakedTime(TimeEmbedding):
    """A timestep's embedding with each layer's own modulation added, and 1 added to the scales."""

    layers_LBF6C: Tensor
    ends_BF2C: Tensor


class Packed(NamedTuple):
    """One self-attention's weights as they are multiplied with: queries, keys and values at once."""

    weight: Tensor | None
    """[3C, C]; None where the layers are of another kind than plain matrices and are called one by one."""
    bias: Tensor | None
    norms_2C: Tensor


class Text(NamedTuple):
    """One layer's keys and values of the prompt."""

    keys_BTHD: Tensor
    values_BTHD: Tensor


class Places(NamedTuple):
    """Where one layer of a pass reads and writes."""

    turn: Turn
    memory: LayerMemory | CodedMemory
    near: Near | None
    text: Text


@dataclass(frozen=True, slots=True)
class Forms:
    """How the parts of a pass are computed."""

    ops: Ops
    kernel: Kernel


def block_pass(
    block: Block,
    packed: Packed,
    x_BNC: Tensor,
    time_BF6C: Tensor,
    *,
    places: Places,
    forms: Forms,
) -> Tensor:
    """One block of one pass. The pass's own slots of the layer's memory are written; nothing else is changed."""
    ops, kernel, eps = forms.ops, forms.kernel, block.eps
    shift_sa, scale_sa, gate_sa, shift_ff, scale_ff, gate_ff = time_BF6C.unbind(2)
    qkv = _project(block.self_attn, packed, ops.modulate(x_BNC, shift_sa, scale_sa, eps))
    q, keys, values = _stored(qkv, packed.norms_2C, places=places, ops=ops, eps=eps)
    seen = attend_apart(q, keys, values, near=places.near, kernel=kernel)
    x_BNC = ops.gate(x_BNC, block.self_attn.o(seen.flatten(-2)), gate_sa)
    cross = block.cross_attn
    q = ops.norm(cross.q(block.norm3(x_BNC)), cross.norm_q.weight, eps).unflatten(-1, (cross.heads, -1))
    text = places.text
    x_BNC = x_BNC + cross.o(attention(q, text.keys_BTHD, text.values_BTHD, kernel=kernel).flatten(-2))
    wide = ops.gelu(block.ffn[0](ops.modulate(x_BNC, shift_ff, scale_ff, eps)))
    return ops.gate(x_BNC, block.ffn[2](wide), gate_ff)


def head_pass(head: Head, x_BNC: Tensor, ends_BF2C: Tensor, ops: Ops) -> Tensor:
    shift, scale = ends_BF2C.unbind(2)
    out: Tensor = head.head(ops.modulate(x_BNC, shift, scale, head.eps))
    return out


def _stored(
    qkv_BN3C: Tensor, norms_2C: Tensor, *, places: Places, ops: Ops, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the pass's keys and values; its queries, and all keys and values that they see."""
    turn, memory = places.turn, places.memory
    if isinstance(memory, LayerMemory):
        q = ops.store(qkv_BN3C, norms_2C, turn=turn, memory=memory, eps=eps)
        return q, memory.keys_BTHD, memory.values_BTHD
    keys, values = Codes(*memory[:2]), Codes(*memory[2:])
    batch, tokens = qkv_BN3C.shape[:2]
    own = LayerMemory(*(qkv_BN3C.new_empty(batch, tokens, *keys.codes.shape[2:]) for _ in range(2)))
    in_order = turn._replace(slots_N=torch.arange(tokens, device=qkv_BN3C.device))
    q = ops.store(qkv_BN3C, norms_2C, turn=in_order, memory=own, eps=eps)
    put(keys, turn.slots_N, quantise(own.keys_BTHD))
    put(values, turn.slots_N, quantise(own.values_BTHD))
    return q, widen(keys, q.dtype), widen(values, q.dtype)


def _project(attn: SelfAttention, packed: Packed, hidden_BNC: Tensor) -> Tensor:
    """[B, N, 3, C]"""
    if packed.weight is None:
        return torch.stack((attn.q(hidden_BNC), attn.k(hidden_BNC), attn.v(hidden_BNC)), dim=2)
    out: Tensor = F.linear(hidden_BNC, packed.weight, packed.bias).unflatten(-1, (3, -1))
    return out


class HotPath:
    """Passes of one transformer. Made when its weights are in place; packing them gives them new memory."""

    def __init__(self, transformer: Transformer, forms: Forms, *, block: Callable[..., Tensor] = block_pass) -> None:
        """`block`: `block_pass`, or a compiled form of it."""
        self._transformer = transformer
        self._forms = forms
        self._block = block
        self._packed = tuple(pack(one.self_attn) for one in transformer.blocks)

    def bake(self, time: TimeEmbedding) -> BakedTime:
        """Everything that a timestep adds, for all layers."""
        model = self._transformer
        layers = torch.stack([block.modulation + time.blocks_BF6C for block in model.blocks])
        ends = model.head.modulation + time.head_BFC[:, :, None]
        for vectors, scales in ((layers, (1, 4)), (ends, (1,))):
            for place in scales:
                vectors.select(-2, place).add_(1)
        return BakedTime(time.blocks_BF6C, time.head_BFC, layers, ends)

    def inputs(
        self, cache: KVCache, plan: PassPlan, *, rope: Rotation, near: tuple[Near, ...] | None = None
    ) -> FusedInputs:
        """Slots and views of the cache for the passes of one plan."""
        slots = cache.slot_tokens(plan)
        layers = tuple(_memory(cache, layer, plan) for layer in range(cache.shape.layers))
        return FusedInputs(Turn(rope.cos_N1P, rope.sin_N1P, slots), layers, near)

    def __call__(self, latents_BFCHW: Tensor, *, time: BakedTime, context: PassContext) -> Tensor:
        """The network's output, as `Transformer.forward`."""
        model, forms, fused = self._transformer, self._forms, context.fused
        assert fused is not None, "prepared for this path"
        rows, columns = model.config.token_grid(*latents_BFCHW.shape[-2:])
        x = model.patchify(latents_BFCHW)
        for layer, block in enumerate(model.blocks):
            near = None if fused.near is None else fused.near[layer]
            places = Places(fused.turn, fused.layers[layer], near, Text(*context.text.layer(layer)))
            x = self._block(block, self._packed[layer], x, time.layers_LBF6C[layer], places=places, forms=forms)
        return model.unpatchify(head_pass(model.head, x, time.ends_BF2C, forms.ops), rows, columns)


def _memory(cache: KVCache, layer: int, plan: PassPlan) -> LayerMemory | CodedMemory:
    if isinstance(cache, Int8KVCache):
        tokens = plan.valid_slots * cache.shape.tokens_per_frame
        return CodedMemory(*cache.keys(layer, tokens), *cache.values(layer, tokens))
    return LayerMemory(*cache.read(layer, plan=plan))


@torch.inference_mode(False)
@torch.no_grad()
def pack(attn: SelfAttention) -> Packed:
    """The three matrices laid in one piece of memory, which the layers then look into: held once, changed in place."""
    layers = (attn.q, attn.k, attn.v)
    norms = torch.stack((attn.norm_q.weight, attn.norm_k.weight))
    if any(type(layer.weight) is not nn.Parameter for layer in layers):
        return Packed(None, None, norms)
    weight = torch.cat(tuple(layer.weight for layer in layers))
    bias = torch.cat(tuple(layer.bias for layer in layers))
    for number, layer in enumerate(layers):
        layer.weight.data = weight.chunk(3)[number]
        layer.bias.data = bias.chunk(3)[number]
    return Packed(weight, bias, norms)
