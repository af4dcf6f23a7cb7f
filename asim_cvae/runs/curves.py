"""The curves of a training, and whether the network learnt its training frames by heart."""

from collections.abc import Mapping, Sequence

import numpy as np

Rows = Sequence[Mapping[str, str]]
"""Rows of ``metrics.csv``, as :func:`asim_cvae.runs.folder.read_metrics` gives them."""

_FEWEST = 10  # epochs; fewer tell no trend from scatter
_SMALLEST_WINDOW = 4  # epochs
_SHARE = 10  # the last tenth of a training is compared with the best
_SCATTERS = 3.0  # has validation to fall; of curves that only scatter, less than one in a hundred does


def read_curve(rows: Rows, name: str) -> list[tuple[int, float]]:
    """Return the epochs that have a value in a column, counted from 1 as in the lines of a training, and the values."""
    return [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]


def tell_overfitting(rows: Rows) -> str | None:
    """Say in a sentence that validation gets worse while training gets better; None if it does not.

    The ELBO is averaged over as many epochs as the last tenth of the training has, four at least. Validation gets
    worse if its mean over the last of them lies below its best such mean by more than three times the scatter, which
    is the standard deviation of a single epoch about the trend, taken from the changes between epochs after the best.
    Training gets better if its mean rose between the same epochs.
    """
    train, validation = (
        {epoch: value for epoch, value in read_curve(rows, name) if np.isfinite(value)}
        for name in ("train/elbo", "val/elbo")
    )
    epochs = [epoch for epoch in validation if epoch in train]
    if len(epochs) < _FEWEST:
        return None
    window = max(len(epochs) // _SHARE, _SMALLEST_WINDOW)
    validated = np.array([validation[epoch] for epoch in epochs])
    trained = np.array([train[epoch] for epoch in epochs])
    means, trained_means = (np.convolve(c, np.full(window, 1 / window), mode="valid") for c in (validated, trained))
    best = int(means.argmax())
    if best + 2 * window > len(epochs):  # the best epochs are among the last
        return None
    scatter = float(np.diff(validated[best:]).std() / np.sqrt(2))
    if means[best] - means[-1] <= _SCATTERS * scatter or trained_means[-1] <= trained_means[best]:
        return None
    after = epochs[best + int(validated[best : best + window].argmax())]
    return (
        f"validation is best after epoch {after} and falls since, while training rises: "
        "the network learns its training frames by heart"
    )
