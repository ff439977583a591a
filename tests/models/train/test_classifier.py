"""The closed-form classifier separates what is separable, and says so where a class has no example."""

import pytest
import torch

from models.train.classifier import fit_classifier


def test_it_separates_what_is_separable() -> None:
    classes = torch.arange(60) % 3
    features = torch.nn.functional.one_hot(classes, 3).float() + 0.1
    assert torch.equal(fit_classifier(features, classes, 3).classes(features), classes)


def test_classes_between_others_are_found() -> None:
    """Classes in a row along one feature: regression on indicators would never choose the middle ones."""
    classes = torch.arange(500) % 5
    noise = 0.1 * torch.randn(500, 1, generator=torch.Generator().manual_seed(1))
    features = classes[:, None].float() + noise
    assert float((fit_classifier(features, classes, 5).classes(features) == classes).float().mean()) >= 0.98


def test_a_class_without_examples_is_refused() -> None:
    with pytest.raises(AssertionError, match="without examples"):
        fit_classifier(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64), 2)
