"""The curves of a training, and whether the network learnt its training frames by heart."""

from collections.abc import Mapping, Sequence

import numpy as np

Curve = Sequence[tuple[int, float]]
"""Pairs of an epoch, counted from 1 as in the lines of a training, and a value."""

_FEWEST = 10  # epochs; fewer tell no trend from scatter
_SMALLEST_WINDOW = 4  # epochs
_SHARE = 10  # the last tenth of a training is compared with the best
_SCATTERS = 3.0  # has validation to fall; of curves that only scatter, less than one in a hundred does


def read_curve(rows: Sequence[Mapping[str, str]], name: str) -> Curve:
    """Return a column of ``metrics.csv`` as a curve, without the epochs that have no value."""
    return [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]


def tell_overfitting(train: Curve, validation: Curve) -> str | None:
    """Say in a sentence that validation gets worse while training gets better; None if it does not.

    The ELBO is averaged over as many epochs as the last tenth of the training has, four at least. Validation gets
    worse if its mean over the last of them lies below its best such mean by more than three times the scatter, which
    is the standard deviation of a single epoch about the trend, taken from the changes between epochs after the best.
    Training gets better if its mean rose between the same epochs.
    """
    known = {epoch: value for epoch, value in train if np.isfinite(value)}
    epochs = [epoch for epoch, value in validation if np.isfinite(value) and epoch in known]
    if len(epochs) < _FEWEST:
        return None
    values = dict(validation)
    window = max(len(epochs) // _SHARE, _SMALLEST_WINDOW)
    validated = np.array([values[epoch] for epoch in epochs])
    means, trained = (
        np.convolve(curve, np.full(window, 1 / window), mode="valid")
        for curve in (validated, np.array([known[epoch] for epoch in epochs]))
    )
    best = int(means.argmax())
    if best + 2 * window > len(epochs):  # the best epochs are among the last
        return None
    scatter = float(np.diff(validated[best:]).std() / np.sqrt(2))
    if means[best] - means[-1] <= _SCATTERS * scatter or trained[-1] <= trained[best]:
        return None
    after = epochs[best + int(validated[best : best + window].argmax())]
    return (
        f"validation is best after epoch {after} and falls since, while training rises: "
        "the network learns its training frames by heart"
    )
