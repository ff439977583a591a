"""Weights on disk: whole or refused, strict in names and shapes, never half loaded.

Every guard is tripped once: each byte of a small file is flipped, each way of not fitting is named.
Knows nothing of the real models; a module of two layers stands for them.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models import weights
from models.errors import EngineError, WeightsError
from models.fill import load_all, load_into
from models.weights import read_safetensors, read_words, write_safetensors

SOURCE = Path("small.safetensors")


def small_tensors() -> dict[str, Tensor]:
    return {
        "a.weight": torch.arange(6, dtype=torch.float32).view(2, 3) / 7,
        "a.bias": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "scale": torch.tensor(3.0, dtype=torch.bfloat16),
        "none": torch.empty(0, 4),
        "count": torch.tensor([7], dtype=torch.int64),
    }


def written(folder: Path) -> Path:
    path = folder / "small.safetensors"
    write_safetensors(path, small_tensors(), {"vocabulary": json.dumps(["<pad>", "<unk>", "ball"])})
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = read_safetensors(written(tmp_path))
    expected = small_tensors()
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        assert checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(checkpoint.tensors[name], tensor)
    assert checkpoint.metadata["format"] == weights.FORMAT
    assert read_words(checkpoint.metadata, "vocabulary", source=SOURCE) == ("<pad>", "<unk>", "ball")


def test_views_and_tied_tensors_are_written_in_full(tmp_path: Path) -> None:
    square = torch.arange(9.0).view(3, 3)
    path = tmp_path / "tied.safetensors"
    write_safetensors(path, {"a": square, "b": square, "c": square.T, "d": square[:, 1]}, {})
    tensors = read_safetensors(path).tensors
    assert torch.equal(tensors["b"], square)
    assert torch.equal(tensors["c"], square.T)
    assert torch.equal(tensors["d"], square[:, 1])


def test_every_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    expected = read_safetensors(path)
    accepted, messages = [], []
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            accepted.append(read_safetensors(path))
        except WeightsError as error:
            messages.append(str(error))
    assert all(str(path) in message for message in messages)
    assert len(messages) > 0.95 * len(whole)
    # What is read in spite of a flip means the same (white space in the header).
    for found in accepted:
        assert found.metadata == expected.metadata
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"small\.safetensors"):
            read_safetensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(WeightsError, match=r"small\.safetensors"):
        read_safetensors(path)


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors: expected a file of weights, found none"):
        read_safetensors(tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsError, match="expected a whole safetensors file"):
        read_safetensors(tmp_path)


def test_a_format_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"format": "longtake-2", "sha256": "0"})
    with pytest.raises(WeightsError, match="expected format longtake-1, found longtake-2"):
        read_safetensors(path)


def test_our_format_without_a_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"format": weights.FORMAT})
    with pytest.raises(WeightsError, match="expected metadata 'sha256', found none"):
        read_safetensors(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_files_of_others_need_no_digest(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata=metadata)
    assert torch.equal(read_safetensors(path).tensors["a"], torch.ones(2))


@pytest.mark.parametrize("key", ["format", "sha256"])
def test_the_writer_keeps_its_own_keys(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match=key):
        write_safetensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)}, {key: "mine"})


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("models.weights.os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_safetensors(path, {"b": torch.zeros(1)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '"ball"', '["ball"'])
def test_words_that_are_no_list_are_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"small\.safetensors: expected a JSON list of words"):
        read_words({"vocabulary": text}, "vocabulary", source=SOURCE)


def test_words_that_are_not_there_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"expected metadata 'vocabulary', found \['format'\]"):
        read_words({"format": "pt"}, "vocabulary", source=SOURCE)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))


def fitting() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "m.a.weight": torch.randn(2, 3, generator=generator).half(),
        "m.a.bias": torch.randn(2, generator=generator),
        "m.scale": torch.tensor(4.0, dtype=torch.bfloat16),
        "m.steps": torch.tensor([9]),
    }


def test_loading_casts_and_strips_the_prefix() -> None:
    module, tensors = Small(), fitting()
    load_into(module, {**tensors, "other.x": torch.zeros(1)}, prefix="m.", source=SOURCE)
    for name, found in module.state_dict().items():
        assert found.dtype == (torch.int64 if name == "steps" else torch.float32)
        assert torch.equal(found, tensors[f"m.{name}"].to(found.dtype))
    assert module.a.weight.requires_grad


def test_a_module_on_the_meta_device_gets_its_own_memory() -> None:
    with torch.device("meta"):
        module = Small()
    tensors = fitting()
    load_into(module, tensors, prefix="m.", source=SOURCE)
    bias = tensors["m.a.bias"].clone()
    tensors["m.a.bias"].zero_()
    assert torch.equal(module.a.bias, bias)
    assert module.a.weight.dtype == torch.float32
    assert module.a.weight.requires_grad


def test_everything_wrong_is_named_at_once_and_nothing_is_loaded() -> None:
    tensors = fitting()
    del tensors["m.a.bias"]
    tensors["m.a.weight"] = torch.zeros(3, 2)
    tensors["m.steps"] = torch.zeros(1)
    tensors["m.b.weight"] = torch.zeros(5)
    tensors["m.scale"] = torch.tensor(float("nan"))
    module = Small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_into(module, tensors, prefix="m.", source=SOURCE)
    message = str(caught.value)
    for part in (
        "small.safetensors: 5 tensors do not fit",
        "missing m.a.bias, expected [2]",
        "m.a.weight: expected shape [2, 3], found [3, 2]",
        "m.steps: expected torch.int64, found torch.float32",
        "unexpected m.b.weight [5]",
        "m.scale: expected finite values as torch.float32, found others",
    ):
        assert part in message
    assert isinstance(caught.value, EngineError)
    assert (caught.value.code, caught.value.field) == ("model_files_invalid", "model")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("value", [float("inf"), 1e9])
def test_values_that_overflow_the_modules_dtype_are_refused(value: float) -> None:
    tensors = fitting()
    tensors["m.a.bias"] = torch.tensor([0.0, value])
    with pytest.raises(WeightsError, match=r"m\.a\.bias: expected finite values as torch\.float16"):
        load_into(Small().half(), tensors, prefix="m.", source=SOURCE)


def test_several_modules_are_filled_from_one_file_or_none_is() -> None:
    tensors = fitting() | {"n.weight": torch.ones(1, 2), "n.bias": torch.ones(1)}
    first, second = Small(), nn.Linear(2, 1)
    load_all({"m.": first, "n.": second}, tensors, source=SOURCE)
    assert torch.equal(second.weight, torch.ones(1, 2))
    with pytest.raises(WeightsError, match=r"1 tensors do not fit: unexpected stray \[3\]"):
        load_all({"m.": first, "n.": second}, tensors | {"stray": torch.zeros(3)}, source=SOURCE)

    untouched = Small()
    before = untouched.a.bias.detach().clone()
    with pytest.raises(WeightsError, match=r"missing n\.bias"):
        load_all({"m.": untouched, "n.": second}, fitting() | {"n.weight": torch.ones(1, 2)}, source=SOURCE)
    assert torch.equal(untouched.a.bias, before)
