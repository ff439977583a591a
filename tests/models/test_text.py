"""Prompts to embeddings: words, cuts, padding, and the cache around an encoder.

What a prompt becomes depends on that prompt alone, is zero past its length, and says what was not understood.
A counting encoder stands in for a slow one. Knows nothing of trained weights.
"""

from dataclasses import dataclass, field, replace

import pytest
import torch

from models.errors import ConfigError
from models.generator import Generator
from models.text import (
    CachedTextEncoder,
    EncodedPrompt,
    TextEncoder,
    WordEncoder,
    WordEncoderConfig,
    split_words,
)
from tests.models.engines import make_blocks, make_generator, prompts

VOCABULARY = ("<pad>", "<unk>", "a", "ball", "don't", "over", "red", "sea", "the")
CONFIG = WordEncoderConfig(VOCABULARY, dim=12, text_len=6, heads=3, layers=2)


def small_encoder() -> WordEncoder:
    torch.manual_seed(4)
    return WordEncoder(CONFIG)


def test_words_are_lower_cased_and_punctuation_dropped() -> None:
    words = split_words("A RED ball, over--the_sea! Don\u2019t 'stop' (2 suns).")
    assert [word for word, _ in words] == [
        "a", "red", "ball", "over", "the", "sea", "don't", "stop", "2", "suns",
    ]  # fmt: skip
    assert words[1] == ("red", 5)
    assert split_words(" ... \n\t!") == []


def test_tokens_are_places_in_the_vocabulary() -> None:
    tokens = small_encoder().tokenize("The red BALL, a spaceship")
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [8, 6, 3, 2, 1, 0]


def test_an_encoded_prompt_says_what_was_understood() -> None:
    encoded = small_encoder().encode("a purple ball, a purple cow!")
    assert encoded.embedding.shape == (6, 12)
    assert encoded.embedding.dtype == torch.float32
    assert not encoded.embedding.requires_grad
    assert (encoded.length, encoded.kept_characters) == (6, len("a purple ball, a purple cow!"))
    assert encoded.unknown_words == ("purple", "cow")


def test_a_long_prompt_is_cut_at_a_word_and_says_where() -> None:
    encoder = small_encoder()
    kept = "The red ball; over the sea"
    encoded = encoder.encode(kept + ", and beyond")
    assert (encoded.length, encoded.kept_characters) == (6, len(kept))
    assert encoded.unknown_words == ()
    assert torch.equal(encoded.embedding, encoder.encode(kept).embedding)
    assert encoder.encode(kept + " ...").kept_characters == len(kept + " ...")


def test_rows_past_the_length_are_exactly_zero() -> None:
    encoded = small_encoder().encode("red ball")
    assert encoded.length == 2
    assert (encoded.embedding[:2].norm(dim=1) > 0.1).all()
    assert torch.equal(encoded.embedding[2:], torch.zeros(4, 12))


@pytest.mark.parametrize("prompt", ["", "  ", "?!"])
def test_a_prompt_without_words_is_zero_everywhere(prompt: str) -> None:
    encoded = small_encoder().encode(prompt)
    assert (encoded.length, encoded.kept_characters) == (0, len(prompt))
    assert torch.equal(encoded.embedding, torch.zeros(6, 12))


def test_padding_changes_nothing_and_every_word_sees_every_other() -> None:
    encoder = small_encoder()
    padded = encoder(encoder.tokenize("red ball over")[None])
    bare = encoder(encoder.tokenize("red ball over")[None, :3])
    assert torch.allclose(padded[:, :3], bare, atol=1e-6)
    other = encoder(encoder.tokenize("red ball sea")[None])
    assert ((padded - other)[0, :3].norm(dim=1) > 1e-3).all()
    swapped = encoder(encoder.tokenize("ball red over")[None])
    assert (padded - swapped)[0, 2].norm() > 1e-4


def test_a_batch_is_what_each_prompt_is_alone() -> None:
    encoder = small_encoder()
    prompts = ["red ball", "", "the sea over a red ball"]
    batch = encoder(torch.stack([encoder.tokenize(prompt) for prompt in prompts]))
    assert batch.isfinite().all()
    for row, prompt in zip(batch, prompts, strict=True):
        assert torch.allclose(row, encoder.encode(prompt).embedding, atol=1e-5)


def test_every_parameter_learns() -> None:
    encoder = small_encoder()
    embedding = encoder(torch.stack([encoder.tokenize("red ball over the sea a"), encoder.tokenize("")]))
    embedding.square().mul(torch.linspace(0, 1, 12)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_same_prompt_is_the_same_bits() -> None:
    encoder = small_encoder()
    first = encoder.encode("a red ball over the sea").embedding
    encoder.encode("the")
    assert torch.equal(first, encoder.encode("a red ball over the sea").embedding)


@pytest.mark.parametrize("shape", [(6,), (1, 7), (1, 2, 3)])
def test_tokens_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected tokens \[B, L <= 6\]"):
        small_encoder()(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (("ball", "red"), "expected a vocabulary from '<pad>', '<unk>' on"),
        ((), "expected a vocabulary from"),
        (("<pad>", "<unk>", "red", "ball", "red"), r"each word once in the vocabulary, got \['red'\]"),
        (("<pad>", "<unk>", "Red", "two words", "ok", ""), r"got \['Red', 'two words', ''\]"),
    ],
)
def test_a_vocabulary_that_no_prompt_could_use_is_refused(vocabulary: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        WordEncoderConfig(vocabulary)
    assert caught.value.field == "vocabulary"


@pytest.mark.parametrize(
    ("field_name", "dim", "text_len", "heads", "layers"),
    [("dim", 0, 6, 3, 1), ("text_len", 12, 0, 3, 1), ("heads", 12, 6, 0, 1), ("heads", 12, 6, 5, 1),
     ("layers", 12, 6, 3, -1)],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(*, field_name: str, dim: int, text_len: int, heads: int, layers: int) -> None:
    with pytest.raises(ConfigError, match=f"expected {field_name}") as caught:
        WordEncoderConfig(VOCABULARY, dim, text_len, heads, layers)
    assert caught.value.field == field_name


@dataclass
class CountingEncoder:
    seen: list[str] = field(default_factory=list)

    def encode(self, prompt: str) -> EncodedPrompt:
        self.seen.append(prompt)
        embedding = torch.zeros(512, 8)
        embedding[: len(prompt)] = len(self.seen)
        return EncodedPrompt(embedding, length=len(prompt), kept_characters=len(prompt), unknown_words=())


def test_the_cache_asks_once_and_forgets_what_was_not_used_longest() -> None:
    slow = CountingEncoder()
    cache: TextEncoder = CachedTextEncoder(slow, capacity=2)
    first = cache.encode("a").embedding
    cache.encode("b")
    assert torch.equal(cache.encode("a").embedding, first)
    cache.encode("c")  # b goes
    assert torch.equal(cache.encode("a").embedding, first)
    cache.encode("b")
    assert slow.seen == ["a", "b", "c", "b"]


def test_the_cache_is_bounded() -> None:
    cache = CachedTextEncoder(CountingEncoder(), capacity=3)
    for number in range(50):
        cache.encode(str(number))
        assert len(cache) <= 3
    with pytest.raises(ValueError, match="at least 1 prompt, got 0"):
        CachedTextEncoder(CountingEncoder(), capacity=0)


def test_the_cache_gives_what_the_encoder_gave_and_keeps_no_zeros() -> None:
    cache = CachedTextEncoder(CountingEncoder())
    for prompt in ("a red ball", "", "a"):
        expected = CountingEncoder().encode(prompt)
        for _ in range(2):
            encoded = cache.encode(prompt)
            assert encoded.embedding.shape == (512, 8)
            assert torch.equal(encoded.embedding != 0, expected.embedding != 0)
            assert (encoded.length, encoded.kept_characters) == (len(prompt), len(prompt))
    assert cache.bytes == 11 * 8 * 4


def test_rows_of_zeros_are_part_of_the_picture() -> None:
    """They become keys like any other row: a mask over them would be another model."""

    class Padded:
        def __init__(self, inner: TextEncoder, value: float) -> None:
            self._inner, self._value = inner, value

        def encode(self, prompt: str) -> EncodedPrompt:
            encoded = self._inner.encode(prompt)
            embedding = encoded.embedding.clone()
            embedding[encoded.length :] = self._value
            return replace(encoded, embedding=embedding)

    frames = []
    for value in (0.0, 0.0, 1.0):
        generator = make_generator()
        text_encoder = Padded(generator.parts.text_encoder, value)
        generator = Generator(replace(generator.parts, text_encoder=text_encoder))
        stream = generator.start(prompts("a red ball"), seed=1)
        frames.append(make_blocks(generator, stream, 1)[0].frames_sha256)
    assert frames[0] == frames[1]
    assert frames[0] != frames[2]


def test_a_failed_prompt_is_not_remembered() -> None:
    class Failing:
        def encode(self, prompt: str) -> EncodedPrompt:
            raise ValueError(f"cannot read {prompt}")

    cache = CachedTextEncoder(Failing(), capacity=1)
    with pytest.raises(ValueError, match="cannot read a"):
        cache.encode("a")
    assert len(cache) == 0
