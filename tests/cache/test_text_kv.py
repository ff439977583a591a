"""A prompt's keys and values: overwritten in place, copied only when asked."""

import pytest
import torch

from cache.text_kv import TextKeysValues


def made(seed: int, text_len: int = 4) -> TextKeysValues:
    generator = torch.Generator().manual_seed(seed)
    return TextKeysValues(*torch.randn(2, 3, 1, text_len, 2, 5, generator=generator).unbind(0))


def test_a_layer_is_a_view() -> None:
    text = made(1)
    for layer in range(3):
        keys, values = text.layer(layer)
        assert torch.equal(keys, text.keys_LBTHD[layer])
        assert torch.equal(values, text.values_LBTHD[layer])
        assert keys.data_ptr() == text.keys_LBTHD[layer].data_ptr()


def test_a_clone_has_memory_of_its_own() -> None:
    text = made(1)
    copy = text.clone()
    text.keys_LBTHD.zero_()
    text.values_LBTHD.zero_()
    assert torch.equal(copy.keys_LBTHD, made(1).keys_LBTHD)
    assert torch.equal(copy.values_LBTHD, made(1).values_LBTHD)


def test_an_update_is_in_place_and_reaches_views() -> None:
    text, other = made(1), made(2)
    places = text.keys_LBTHD.data_ptr(), text.values_LBTHD.data_ptr()
    keys, values = text.layer(1)
    text.update(other)
    assert (text.keys_LBTHD.data_ptr(), text.values_LBTHD.data_ptr()) == places
    assert torch.equal(keys, other.keys_LBTHD[1])
    assert torch.equal(values, other.values_LBTHD[1])
    other.keys_LBTHD.zero_()
    assert torch.equal(text.keys_LBTHD, made(2).keys_LBTHD)


def test_another_shape_is_refused_loudly() -> None:
    """A copy would broadcast a single row over all; a wrong cache must not pass."""
    text = made(1)
    with pytest.raises(AssertionError):
        text.update(made(2, text_len=1))
    assert torch.equal(text.keys_LBTHD, made(1).keys_LBTHD)
