"""What becomes of a light curve that is drawn, published, and read off the figure again.

The real frames at hand were read off vector figures. matplotlib leaves out points that do not show, so that the
samples between are known only by interpolation; simulated frames must go the same way before they are compared.
"""

import numpy as np
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

_PIXELS = 400, 100  # of an axis; with this width as many points are left out as in the published figures
_THRESHOLD = 1 / 9  # pixels: matplotlib's default for what does not show


def as_published(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (3, T) as they would be read off a published figure: left-out samples interpolated and cut to integers."""
    return np.stack([_read_off(row) for row in counts])


def _read_off(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    samples = np.arange(counts.size)
    scale = Affine2D().scale(_PIXELS[0] / counts.size, _PIXELS[1] / max(int(counts.max()), 1))
    line = Path(np.column_stack([samples, counts]).astype(np.float64))
    line.simplify_threshold = _THRESHOLD
    drawn = line.cleaned(transform=scale, simplify=True)
    drawn_points = np.asarray(drawn.vertices)[np.asarray(drawn.codes) != Path.STOP]
    points = scale.inverted().transform(drawn_points)
    kept = np.unique(np.clip(np.round(points[:, 0]).astype(np.int64), 0, counts.size - 1))
    read: NDArray[np.int64] = np.floor(np.interp(samples, kept, counts[kept])).astype(np.int64)
    return read
