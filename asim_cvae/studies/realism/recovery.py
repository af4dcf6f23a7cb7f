"""Simulate how a light curve changes when it is drawn, published, and digitised from the figure.

The available real frames were digitised from vector figures. matplotlib drops points whose absence cannot be seen, and
the samples between the remaining ones are known by interpolation only. Simulated frames must be treated in the same
way before they are compared with real ones.
"""

import numpy as np
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

_PIXELS = 400, 100  # size of an axis; with this width as many points are dropped as in the published figures
_THRESHOLD = 1 / 9  # pixels: matplotlib's default for the deviation that cannot be seen


def as_published(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counts (3, T) as digitised from a published figure: dropped samples are interpolated and rounded down."""
    return np.stack([_digitise(row) for row in counts])


def _digitise(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    samples = np.arange(counts.size)
    scale = Affine2D().scale(_PIXELS[0] / counts.size, _PIXELS[1] / max(int(counts.max()), 1))
    line = Path(np.column_stack([samples, counts]).astype(np.float64))
    line.simplify_threshold = _THRESHOLD
    simplified = line.cleaned(transform=scale, simplify=True)
    pixels = np.asarray(simplified.vertices)[np.asarray(simplified.codes) != Path.STOP]
    points = scale.inverted().transform(pixels)
    kept = np.unique(np.clip(np.round(points[:, 0]).astype(np.int64), 0, counts.size - 1))
    digitised: NDArray[np.int64] = np.floor(np.interp(samples, kept, counts[kept])).astype(np.int64)
    return digitised
