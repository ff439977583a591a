"""The attention kernel that is measured: once, kept, read again, and not trusted where the file is damaged."""

from collections.abc import Callable
from pathlib import Path

import torch

from models.attention_choice import (
    FILE,
    AttentionShape,
    choose_attention,
    device_clock,
    kept_choice,
    measure_kernels,
)
from models.fast import attention_shape, usual_kernel
from tests.models.engines import small_preset

CPU = torch.device("cpu")
SHAPE = AttentionShape(queries=3, keys=12, heads=2, head_dim=8, dtype="float32")


class Clock:
    """Tells what it was given, one call after the other, and runs the function."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)
        self.asked = 0

    def __call__(self, function: Callable[[], object]) -> float:
        function()
        self.asked += 1
        return self.times.pop(0)


def test_the_quickest_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    clock = Clock(3.0, 1.0)
    choice = choose_attention(tmp_path / "new", SHAPE, device=CPU, clock=clock, candidates=("flash", "cudnn", "plain"))
    assert (choice.kernel, dict(choice.milliseconds), clock.asked) == ("plain", {"plain": 1.0, "flash": 3.0}, 2)
    again = choose_attention(tmp_path / "new", SHAPE, device=CPU, clock=Clock(), candidates=("flash", "plain"))
    assert again == choice


def test_every_shape_has_a_choice_of_its_own(tmp_path: Path) -> None:
    other = AttentionShape(queries=6, keys=12, heads=2, head_dim=8, dtype="float32")
    choose_attention(tmp_path, SHAPE, device=CPU, clock=Clock(1.0), candidates=("flash",))
    assert kept_choice(tmp_path, other, device=CPU) is None
    choose_attention(tmp_path, other, device=CPU, clock=Clock(1.0), candidates=("plain",))
    assert [kept_choice(tmp_path, shape, device=CPU) is not None for shape in (SHAPE, other)] == [True, True]


def test_a_damaged_file_counts_as_nothing(tmp_path: Path) -> None:
    for content in ("no json", "[1]", '{"a": 1}'):
        (tmp_path / FILE).write_text(content, "utf-8")
        assert kept_choice(tmp_path, SHAPE, device=CPU) is None
    choice = choose_attention(tmp_path, SHAPE, device=CPU, clock=Clock(1.0), candidates=("flash",))
    assert kept_choice(tmp_path, SHAPE, device=CPU) == choice


def test_without_a_kernel_that_runs_it_is_torch_s_own(tmp_path: Path) -> None:
    assert choose_attention(tmp_path, SHAPE, device=CPU, clock=Clock(), candidates=("cudnn",)).kernel == "auto"


def test_the_clock_of_a_cpu_takes_time() -> None:
    times = measure_kernels(SHAPE, device=CPU, clock=device_clock(CPU), candidates=("flash", "plain"))
    assert set(times) == {"flash", "plain"}
    assert min(times.values()) > 0


def test_on_a_cpu_nothing_is_measured(tmp_path: Path) -> None:
    preset = small_preset()
    assert usual_kernel(preset, "auto", device=CPU, folder=tmp_path) == "auto"
    assert usual_kernel(preset, "plain", device=CPU, folder=None) == "plain"
    assert not (tmp_path / FILE).exists()
    assert attention_shape(preset) == AttentionShape(queries=3, keys=12, heads=2, head_dim=12, dtype="float32")
