"""The schedule's published numbers, what the network's output means, and the order in which a block is made."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.config import Prediction, SamplerConfig
from models.sampler import add_noise, denoise_block, make_schedule, model_input, shift_sigma, to_x0

STD = torch.tensor([0.3, 1.0, 2.5])
sigmas = st.floats(0.02, 1.0)


def draw(seed: int, count: int = 2) -> Tensor:
    """[B, F, C, H, W]"""
    return torch.randn(1, count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_the_published_schedule() -> None:
    schedule = make_schedule(SamplerConfig())
    assert schedule.timesteps == pytest.approx((1000, 937.5, 833.3333333, 625))
    assert schedule.sigmas == pytest.approx((1, 0.9375, 0.83333333333, 0.625))
    assert (schedule.steps, schedule.context_timestep) == (4, 0)


def test_the_last_entry_of_the_published_table() -> None:
    assert 1000 * shift_sigma(0.001, 5) == pytest.approx(4.98008, abs=1e-5)


@given(st.floats(0, 1), st.floats(0.1, 20))
def test_shifting_keeps_the_ends_and_the_order(sigma: float, shift: float) -> None:
    shifted = shift_sigma(sigma, shift)
    assert 0 <= shifted <= 1 + 1e-12
    assert shift_sigma(shifted, 1 / shift) == pytest.approx(sigma, abs=1e-9)
    assert shift_sigma(sigma, 1) == pytest.approx(sigma)


def test_a_schedule_falls() -> None:
    schedule = make_schedule(SamplerConfig(steps=(900, 500, 1), shift=2, context_timestep=7))
    assert list(schedule.sigmas) == sorted(schedule.sigmas, reverse=True)
    assert schedule.sigmas[0] < 1
    assert schedule.context_timestep == 7


def network(prediction: Prediction, x0: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """The output that means x0, by the formulas of the header, in float64 and channel by channel."""
    if prediction == "flow":
        return noise - x0
    noisy = (1 - sigma) * x0.double() + sigma * noise.double()
    out = torch.empty_like(noisy)
    for channel, std in enumerate(STD.double().tolist()):
        total = (1 - sigma) ** 2 * std**2 + sigma**2
        skip, scale = (1 - sigma) * std**2 / total, sigma * std / total**0.5
        out[:, :, channel] = (x0[:, :, channel].double() - skip * noisy[:, :, channel]) / scale
    return out.float()


@pytest.mark.parametrize("prediction", ["flow", "edm_x0"])
@given(sigmas, st.integers(0, 100))
def test_the_output_means_the_clean_latents(prediction: Prediction, sigma: float, seed: int) -> None:
    x0, noise = draw(seed), draw(seed + 1000)
    noisy = add_noise(x0, noise, sigma)
    found = to_x0(prediction, network(prediction, x0, noise, sigma), noisy=noisy, sigma=sigma, data_std=STD)
    assert (found - x0).abs().max() < 1e-4


@pytest.mark.parametrize("prediction", ["flow", "edm_x0"])
def test_levels_may_differ_by_frame(prediction: Prediction) -> None:
    """As in training: a sigma for each frame, [B, F, 1, 1, 1], is the same as one call for each frame."""
    noisy, output = draw(1, 3), draw(2, 3)
    levels = (0.9, 0.5, 0.1)
    sigma = torch.tensor(levels).view(1, 3, 1, 1, 1)
    together = to_x0(prediction, output, noisy=noisy, sigma=sigma, data_std=STD)
    given_to = model_input(prediction, noisy, sigma, STD)
    mixed = add_noise(noisy, output, sigma)
    for number, level in enumerate(levels):
        one, out = noisy[:, number : number + 1], output[:, number : number + 1]
        alone = to_x0(prediction, out, noisy=one, sigma=level, data_std=STD)
        assert torch.allclose(together[:, number : number + 1], alone, atol=1e-6)
        assert torch.allclose(given_to[:, number : number + 1], model_input(prediction, one, level, STD), atol=1e-6)
        assert torch.allclose(mixed[:, number : number + 1], add_noise(one, out, level), atol=1e-6)


def test_noise_alone_at_the_first_level_and_none_at_the_last() -> None:
    x0, noise = draw(1), draw(2)
    assert torch.equal(add_noise(x0, noise, 1.0), noise)
    assert torch.equal(add_noise(x0, noise, 0.0), x0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_latents_keep_their_dtype(dtype: torch.dtype) -> None:
    x0, noise = draw(1).to(dtype), draw(2)
    assert add_noise(x0, noise, torch.tensor(0.5)).dtype == dtype
    for prediction in ("flow", "edm_x0"):
        assert to_x0(prediction, noise.to(dtype), noisy=x0, sigma=0.5, data_std=STD).dtype == dtype


@pytest.mark.parametrize("sigma", [0.02, 0.3, 0.7, 1.0])
def test_preconditioning_keeps_unit_variance(sigma: float) -> None:
    """For latents of the deviation that is said, input and wanted output of the network both have variance 1."""
    generator = torch.Generator().manual_seed(5)
    size = (1, 400, 3, 10, 10)
    x0 = torch.randn(size, generator=generator) * STD[:, None, None]
    noise = torch.randn(size, generator=generator)
    given_to = model_input("edm_x0", add_noise(x0, noise, sigma), sigma, STD)
    wanted = network("edm_x0", x0, noise, sigma)
    for tensor in (given_to, wanted):
        deviations = tensor.transpose(0, 2).flatten(1).std(dim=1)
        assert (deviations - 1).abs().max() < 0.02


def test_flow_is_given_the_noisy_latents_themselves() -> None:
    noisy = draw(1)
    assert model_input("flow", noisy, 0.3, None) is noisy


def test_edm_needs_the_deviations() -> None:
    with pytest.raises(AssertionError, match="deviation"):
        model_input("edm_x0", draw(1), 0.3, None)
    with pytest.raises(AssertionError, match="deviation"):
        to_x0("edm_x0", draw(1), noisy=draw(1), sigma=0.3, data_std=None)


class Recorder:
    """Callables for `denoise_block` that write down in which order they are called, and with what."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.given: list[Tensor] = []
        self._asked = 0
        self._stop_at = stop_at

    def predict(self, noisy: Tensor, step: int) -> Tensor:
        self.calls.append(f"predict {step}")
        self.given.append(noisy)
        return draw(10 + step)

    def renoise(self, step: int) -> Tensor:
        self.calls.append(f"renoise {step}")
        return draw(20 + step)

    def interrupted(self) -> bool:
        self.calls.append("asked")
        self._asked += 1
        return self._asked - 1 == self._stop_at


def run(recorder: Recorder, interrupted: Callable[[], bool] | None = None) -> Tensor | None:
    return denoise_block(
        recorder.predict,
        draw(1),
        make_schedule(SamplerConfig(steps=(1000, 750, 500))),
        renoise=recorder.renoise,
        interrupted=interrupted or recorder.interrupted,
    )


ORDER = ["asked", "predict 0", "renoise 0", "asked", "predict 1", "renoise 1", "asked", "predict 2"]


def test_the_order_of_a_blocks_passes() -> None:
    recorder = Recorder()
    made = run(recorder)
    assert recorder.calls == ORDER
    assert made is not None
    assert torch.equal(made, draw(12)), "the block is the last prediction, not noised again"


def test_each_pass_is_given_the_prediction_before_it_with_fresh_noise() -> None:
    recorder = Recorder()
    run(recorder)
    levels = make_schedule(SamplerConfig(steps=(1000, 750, 500))).sigmas
    assert torch.equal(recorder.given[0], draw(1))
    for step in (1, 2):
        assert torch.equal(recorder.given[step], add_noise(draw(9 + step), draw(19 + step), levels[step]))


@pytest.mark.parametrize(("stop_at", "passes"), [(0, 0), (1, 1), (2, 2)])
def test_a_block_is_interrupted_before_any_pass(stop_at: int, passes: int) -> None:
    recorder = Recorder(stop_at)
    assert run(recorder) is None
    assert recorder.calls == ORDER[: 3 * passes + 1]


def test_the_predictions_are_not_asked_for_more_than_the_steps() -> None:
    recorder = Recorder(stop_at=3)
    assert run(recorder) is not None, "after the last pass there is nothing to interrupt"
