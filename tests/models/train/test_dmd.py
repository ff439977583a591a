"""Formulas of the distillation, against what they are defined to be."""

import torch
from torch import Tensor

from models.train.dmd import (
    HIGHEST_SIGMA,
    LOWEST_SIGMA,
    critic_loss,
    guided,
    matching_gradient,
    matching_loss,
    ode_endpoint,
    score_levels,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_losss_gradient_is_the_difference_over_the_distance() -> None:
    x, fake, real = random(2, 3, 4).requires_grad_(), random(2, 3, 4, seed=1), random(2, 3, 4, seed=2)
    gradient = matching_gradient(x.detach(), fake=fake, real=real)
    distance = (x.detach() - real).abs().mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(gradient, (fake - real) / distance)
    (found,) = torch.autograd.grad(matching_loss(x, gradient), x)
    torch.testing.assert_close(found, gradient / x.numel())


def test_where_critic_and_teacher_agree_nothing_is_learnt() -> None:
    x = random(1, 5).requires_grad_()
    gradient = matching_gradient(x.detach(), fake=torch.ones(1, 5), real=torch.ones(1, 5))
    (found,) = torch.autograd.grad(matching_loss(x, gradient), x)
    assert torch.equal(found, torch.zeros(1, 5))


def test_an_output_that_is_the_teachers_gives_no_infinity() -> None:
    same = random(1, 5)
    assert torch.equal(matching_gradient(same, fake=same, real=same), torch.zeros(1, 5))


def test_the_critics_loss_is_that_of_the_velocity() -> None:
    x, noise, x0_hat = random(2, 6), random(2, 6, seed=1), random(2, 6, seed=2)
    sigma = torch.tensor([0.3, 0.8])
    noisy = (1 - sigma[:, None]) * x + sigma[:, None] * noise
    velocity = (noisy - x0_hat) / sigma[:, None]
    expected = (velocity - (noise - x)).square().mean()
    torch.testing.assert_close(critic_loss(x0_hat, x, sigma_B=sigma), expected)


def test_guidance_moves_away_from_what_is_made_without_text() -> None:
    with_text, without = torch.tensor([2.0]), torch.tensor([1.0])
    assert guided(with_text, without, guidance=0.0).item() == 2.0
    assert guided(with_text, without, guidance=3.0).item() == 5.0


def test_levels_follow_the_shift_and_keep_off_the_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = score_levels(4000, shift=3.0, generator=generator)
    assert abs(float(levels.min()) - LOWEST_SIGMA) < 1e-6
    assert abs(float(levels.max()) - HIGHEST_SIGMA) < 1e-6
    assert abs(float(levels.median()) - 0.75) < 0.02  # the shift takes 1/2 to 3/4


def test_a_path_ends_where_the_exact_one_does() -> None:
    """Where the data are one point, every step leads to it; where they are Gaussian, more steps come nearer."""
    point = torch.full((1, 3), 0.4)
    assert torch.equal(ode_endpoint(lambda noisy, level: point, random(1, 3), 1.0, substeps=4), point)

    def gaussian(noisy: Tensor, level: float) -> Tensor:
        """The mean of unit Gaussian data given x_t."""
        return (1 - level) / ((1 - level) ** 2 + level**2) * noisy

    # The exact path keeps x_t / std_t, and std is 1 at both ends.
    start = random(1, 50)
    errors = [float((ode_endpoint(gaussian, start, 1.0, substeps=n) - start).abs().mean()) for n in (4, 16, 64)]
    assert errors[2] < 0.3 * errors[1] < 0.3 * errors[0]
