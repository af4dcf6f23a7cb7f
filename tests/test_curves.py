"""Tests of what is said about the curves of a training."""

from collections.abc import Sequence

import numpy as np
import pytest

from asim_cvae.runs.curves import read_curve, tell_overfitting


def _rows(train: Sequence[float], validation: Sequence[float]) -> list[dict[str, str]]:
    pairs = zip(train, validation, strict=True)
    return [
        {"epoch": str(epoch), "train/elbo": repr(float(t)), "val/elbo": repr(float(v))}
        for epoch, (t, v) in enumerate(pairs)
    ]


EPOCHS = np.arange(40.0)
NOISE = np.random.default_rng(0).normal(size=(100, 40))
RISING = -6000 - 1000 * np.exp(-EPOCHS / 5) + EPOCHS
FALLING = RISING - 5 * np.maximum(EPOCHS - 11, 0)


def test_curves_count_epochs_from_one_and_leave_out_those_without_a_value() -> None:
    rows = [{"epoch": "0", "val/elbo": "-2.5"}, {"epoch": "1", "val/elbo": ""}, {"epoch": "2", "val/elbo": "-1.0"}]
    assert read_curve(rows, "val/elbo") == [(1, -2.5), (3, -1.0)]
    assert read_curve(rows, "val/kl") == []


@pytest.mark.parametrize("validation", [FALLING, FALLING + NOISE[0]])
def test_validation_that_falls_while_training_rises_is_told(validation: np.ndarray) -> None:
    best = int(validation.argmax()) + 1
    assert tell_overfitting(_rows(RISING, validation)) == (
        f"validation is best after epoch {best} and falls since, while training rises: "
        "the network learns its training frames by heart"
    )


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (RISING, RISING - 50),
        (FALLING, FALLING),
        (RISING, np.full(40, np.nan)),
        (RISING[:9], FALLING[10:19]),
        (RISING[:0], RISING[:0]),
    ],
    ids=["both rise", "both fall", "not finite", "few epochs", "no epochs"],
)
def test_nothing_else_is_told(train: np.ndarray, validation: np.ndarray) -> None:
    assert tell_overfitting(_rows(train, validation)) is None


def test_scatter_is_not_taken_for_a_fall() -> None:
    flat = [tell_overfitting(_rows(RISING, -6000 + noise)) for noise in NOISE]
    assert sum(told is not None for told in flat) <= 2
