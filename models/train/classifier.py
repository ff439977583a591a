"""A classifier fitted in closed form: linear discriminants of classes that share one covariance.

Knows features and classes; nothing of pixels. Nothing is learned by gradient, and the same features give the same
scores. Shapes: N examples, D features.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

SHRINKAGE: Final = 0.1
"""Added to the covariance of the standardised features: bounds how much is made of what hardly varies."""
LEAST_SPREAD: Final = 0.02


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """Classes by the largest of linear scores."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    """[D + 1, classes]; the last row is the constant."""

    def scores(self, features_ND: Tensor) -> Tensor:
        """Scores [N, classes]."""
        normal = (features_ND - self.mean) / self.scale
        return normal @ self.weight[:-1] + self.weight[-1]

    def classes(self, features_ND: Tensor) -> Tensor:
        """The class with the largest score [N]."""
        return self.scores(features_ND).argmax(dim=1)


def fit_classifier(features_ND: Tensor, classes_N: Tensor, count: int) -> LinearClassifier:
    """Linear discriminants of `count` classes, each of which must have an example."""
    mean, scale = features_ND.mean(dim=0), features_ND.std(dim=0) + LEAST_SPREAD
    normal = ((features_ND - mean) / scale).double()
    centres = torch.stack([normal[classes_N == one].mean(dim=0) for one in range(count)])
    assert bool(centres.isfinite().all()), "a class without examples"
    within = normal - centres[classes_N]
    covariance = within.T @ within / len(normal)
    covariance.diagonal().add_(SHRINKAGE)
    weight = torch.linalg.solve(covariance, centres.T)
    constant = -0.5 * (centres.T * weight).sum(dim=0)
    return LinearClassifier(mean, scale, torch.cat([weight, constant[None]]).float())
