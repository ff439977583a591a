"""The UMT5 encoder against the library's own, from both layouts of names, in every placement."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import UMT5Config, UMT5EncoderModel

from models.config import Umt5Config
from models.errors import ConfigError
from models.text import TextEncoder
from models.tokenizer import PromptTokenizer
from models.umt5 import TextPlacement, Umt5Encoder, umt5_bytes, umt5_name
from tests.models.pieces import SMALL_UMT5, fill, write_tokenizer

PROMPTS = ("a red ball in the sea", "a", "", "the snow, the sea, the night. " * 10)
TEXT_LEN = 80


@pytest.fixture
def tokenizer(tmp_path: Path) -> PromptTokenizer:
    return PromptTokenizer.from_file(write_tokenizer(tmp_path / "tokenizer.json"))


def oracle() -> UMT5EncoderModel:
    """As published with the diffusers checkpoints: the library's model, nothing of ours."""
    config = UMT5Config(
        vocab_size=SMALL_UMT5.vocabulary,
        d_model=SMALL_UMT5.dim,
        d_kv=SMALL_UMT5.head_dim,
        d_ff=SMALL_UMT5.ffn_dim,
        num_layers=SMALL_UMT5.layers,
        num_heads=SMALL_UMT5.heads,
        relative_attention_num_buckets=SMALL_UMT5.buckets,
        relative_attention_max_distance=SMALL_UMT5.max_distance,
        feed_forward_proj="gated-gelu",
    )
    model = UMT5EncoderModel(config)
    fill(model)
    torch.nn.Module.train(model, False)
    return model


def original_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the names of the original file, written out by hand."""
    named = {"token_embedding.weight": state["shared.weight"], "norm.weight": state["encoder.final_layer_norm.weight"]}
    for number in range(SMALL_UMT5.layers):
        attention, ffn = f"encoder.block.{number}.layer.0", f"encoder.block.{number}.layer.1"
        named |= {
            f"blocks.{number}.norm1.weight": state[f"{attention}.layer_norm.weight"],
            f"blocks.{number}.attn.q.weight": state[f"{attention}.SelfAttention.q.weight"],
            f"blocks.{number}.attn.k.weight": state[f"{attention}.SelfAttention.k.weight"],
            f"blocks.{number}.attn.v.weight": state[f"{attention}.SelfAttention.v.weight"],
            f"blocks.{number}.attn.o.weight": state[f"{attention}.SelfAttention.o.weight"],
            f"blocks.{number}.norm2.weight": state[f"{ffn}.layer_norm.weight"],
            f"blocks.{number}.ffn.gate.0.weight": state[f"{ffn}.DenseReluDense.wi_0.weight"],
            f"blocks.{number}.ffn.fc1.weight": state[f"{ffn}.DenseReluDense.wi_1.weight"],
            f"blocks.{number}.ffn.fc2.weight": state[f"{ffn}.DenseReluDense.wo.weight"],
            f"blocks.{number}.pos_embedding.embedding.weight": state[
                f"{attention}.SelfAttention.relative_attention_bias.weight"
            ],
        }
    return named


def encoder_from(tensors: dict[str, Tensor], tokenizer: PromptTokenizer) -> Umt5Encoder:
    with torch.device("meta"):
        encoder = Umt5Encoder(SMALL_UMT5, tokenizer, text_len=TEXT_LEN)
    renamed = {umt5_name(name): tensor.clone() for name, tensor in tensors.items() if umt5_name(name)}
    encoder.model.load_state_dict(renamed, strict=True, assign=True)
    return encoder


def expected(model: UMT5EncoderModel, tokenizer: PromptTokenizer, prompt: str) -> tuple[Tensor, int]:
    """As the published pipeline does it: all rows, masked, and zeros past the length."""
    ids = torch.tensor(tokenizer.tokenize(prompt, limit=TEXT_LEN).ids)
    length = len(ids)
    padded = torch.nn.functional.pad(ids, (0, TEXT_LEN - length))[None]
    mask = (torch.arange(TEXT_LEN) < length).long()[None]
    with torch.no_grad():
        rows = model(input_ids=padded, attention_mask=mask).last_hidden_state[0].clone()
    rows[length:] = 0
    return rows, length


def test_both_layouts_give_what_the_library_gives(tokenizer: PromptTokenizer) -> None:
    model = oracle()
    state = dict(model.state_dict())
    assert len(original_names(state)) == 10 * SMALL_UMT5.layers + 2
    theirs, ours = encoder_from(state, tokenizer), encoder_from(original_names(state), tokenizer)
    for prompt in PROMPTS:
        rows, length = expected(model, tokenizer, prompt)
        first, second = theirs.encode(prompt), ours.encode(prompt)
        assert torch.equal(first.embedding, second.embedding)
        assert (first.length, first.embedding.shape) == (length, (TEXT_LEN, SMALL_UMT5.dim))
        assert float((first.embedding - rows).abs().max()) < 2e-6
        assert rows[:length].std() > 0.1


def test_rows_past_the_length_are_exactly_zero(tokenizer: PromptTokenizer) -> None:
    encoder: TextEncoder = encoder_from(dict(oracle().state_dict()), tokenizer)
    for prompt in PROMPTS:
        encoded = encoder.encode(prompt)
        assert encoded.embedding.dtype == torch.float32
        assert not encoded.embedding[encoded.length :].any()
        assert encoded.embedding[: encoded.length].abs().sum(1).min() > 0
    assert encoder.encode(PROMPTS[-1]).length == TEXT_LEN
    assert encoder.encode(PROMPTS[-1]).kept_characters < len(PROMPTS[-1])
    assert encoder.encode(PROMPTS[0]).kept_characters == len(PROMPTS[0])


@pytest.mark.parametrize("placement", ["device", "cpu", "offload"])
def test_placement_changes_no_bit(tokenizer: PromptTokenizer, placement: TextPlacement) -> None:
    encoder = encoder_from(dict(oracle().state_dict()), tokenizer)
    before = encoder.encode(PROMPTS[0]).embedding
    for chosen in ("offload", placement):
        encoder.place(chosen, "cpu")
    assert torch.equal(encoder.encode(PROMPTS[0]).embedding, before)
    encoder.place("device", "cpu")
    assert torch.equal(encoder.encode(PROMPTS[0]).embedding, before)


def test_offloaded_layers_visit_one_at_a_time(tokenizer: PromptTokenizer) -> None:
    encoder = encoder_from(dict(oracle().state_dict()), tokenizer)
    encoder.place("offload", "cpu")
    home = {name: parameter.data_ptr() for name, parameter in encoder.model.named_parameters()}
    away: list[set[str]] = []

    def look(layer: object, inputs: object) -> None:
        now = {name: parameter.data_ptr() for name, parameter in encoder.model.named_parameters()}
        away.append({name.partition(".layer.")[0] for name in home if now[name] != home[name]})

    for block in encoder.model.encoder.block:
        block.register_forward_pre_hook(look)
    encoder.encode(PROMPTS[0])
    assert away == [{"encoder.block.0"}, {"encoder.block.1"}]
    assert {name: parameter.data_ptr() for name, parameter in encoder.model.named_parameters()} == home


def test_a_failure_leaves_no_layer_away(tokenizer: PromptTokenizer) -> None:
    encoder = encoder_from(dict(oracle().state_dict()), tokenizer)
    before = encoder.encode(PROMPTS[0]).embedding
    encoder.place("offload", "cpu")
    home = [parameter.data_ptr() for parameter in encoder.model.parameters()]

    def fail(layer: object, inputs: object) -> None:
        raise RuntimeError("out of memory")

    hook = encoder.model.encoder.block[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.encode(PROMPTS[0])
    assert [parameter.data_ptr() for parameter in encoder.model.parameters()] == home
    hook.remove()
    assert torch.equal(encoder.encode(PROMPTS[0]).embedding, before)


def test_the_published_sizes(tokenizer: PromptTokenizer) -> None:
    config = Umt5Config()
    with torch.device("meta"):
        encoder = Umt5Encoder(config, tokenizer)
    tensors = encoder.model.state_dict()
    count = sum(tensor.numel() for tensor in tensors.values())
    assert (len(tensors), count, encoder.text_len) == (242, 5_680_910_336, 512)
    assert umt5_bytes(config, "device", itemsize=2).device == 2 * count
    host = umt5_bytes(config, "cpu", itemsize=2)
    assert (host.device, host.host) == (0, 2 * count)
    offloaded = umt5_bytes(config, "offload", itemsize=2)
    layer = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith("encoder.block.3."))
    assert (offloaded.device, offloaded.host) == (2 * layer, 2 * count)


def test_names_that_belong_to_nothing_stay_as_they_are() -> None:
    for name in ("blocks.0.attn.x.weight", "blocks.a.norm1.weight", "blocks.0.norm1.bias", "something", ""):
        assert umt5_name(name) == name
    assert umt5_name("encoder.embed_tokens.weight") == ""
    assert umt5_name("encoder.block.1.layer.0.layer_norm.weight") == "encoder.block.1.layer.0.layer_norm.weight"


def test_a_tokenizer_with_more_pieces_than_rows_is_refused(tokenizer: PromptTokenizer) -> None:
    with pytest.raises(ConfigError, match="at most 4 pieces, not 19"):
        Umt5Encoder(replace(SMALL_UMT5, vocabulary=4), tokenizer)
