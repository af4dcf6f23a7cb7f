"""Scaled frames of a store, as a torch dataset."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from asim_cvae.frames.scaling import Scaling
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.frames.store import FrameStore
from asim_cvae.instrument.photometers import PHOTOMETERS

_SLAB = 256  # frames, 15 MB
_CPU = torch.device("cpu")


class FrameDataset(Dataset[Tensor]):
    """Scaled frames of a store's ``rows``; for a batch of indices, a batch.

    They are held on ``device``, from where batches come, or read when asked for where that is None.
    """

    def __init__(
        self, store: FrameStore, rows: NDArray[np.int64], scaling: Scaling, device: torch.device | None
    ) -> None:
        self.store = store
        self.rows = rows
        self.scaling = scaling
        self._cached = None if device is None else self._read(rows, device)

    @property
    def is_cached(self) -> bool:
        """Whether frames are held, not read."""
        return self._cached is not None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Tensor:
        """Frames (n, 3, 5000) as the network is to see them."""
        return self._read(self.rows[indices], _CPU) if self._cached is None else self._cached[indices]

    def prefetch(self, index: int) -> None:
        """Have a frame read meanwhile that will be asked for."""
        self.store.prefetch(self.rows[[index]])

    def flux(self, index: int) -> NDArray[np.float32]:
        """One frame, (3, 5000), in uW/m^2 and in time order."""
        flux: NDArray[np.float32] = self.store.frames(self.rows[[index]])[0]
        return flux

    def _read(self, rows: NDArray[np.int64], device: torch.device) -> Tensor:
        if device == _CPU and len(rows) <= _SLAB:
            return torch.from_numpy(self.scaling.scale(self.store.frames(rows)))
        scaled = torch.empty((len(rows), len(PHOTOMETERS), FRAME_SAMPLES), device=device)
        for first in range(0, len(rows), _SLAB):  # so that no second copy of all is made
            part = slice(first, first + _SLAB)
            scaled[part] = torch.from_numpy(self.scaling.scale(self.store.frames(rows[part])))
        return scaled
