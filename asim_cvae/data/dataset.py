"""Frames of a store as the network sees them, as a torch dataset."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from asim_cvae.frames.representation import Representation
from asim_cvae.frames.store import FrameStore

_SLAB = 256  # frames, 15 MB
_CPU = torch.device("cpu")


class FrameDataset(Dataset[Tensor]):
    """Frames of a store's ``rows``, represented for the network; for a batch of indices, a batch.

    They are cached on ``device``, from where batches come, or read when asked for where that is None.
    """

    def __init__(
        self, store: FrameStore, rows: NDArray[np.int64], representation: Representation, device: torch.device | None
    ) -> None:
        self.store = store
        self.rows = rows
        self.representation = representation
        self._cached = None if device is None else self._read(rows, device)

    @property
    def is_cached(self) -> bool:
        """True where frames are cached, false where each is read when it is asked for."""
        return self._cached is not None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Tensor:
        """Frames (n, 3, T) as the network sees them."""
        if self._cached is None:
            return self._read(self.rows[indices], _CPU)
        on_gpu = self._cached.is_cuda
        chosen = torch.tensor(indices, pin_memory=on_gpu)  # without it, to hand them over waits for the step before
        return self._cached[chosen.to(self._cached.device, non_blocking=on_gpu)]

    def prefetch(self, index: int) -> None:
        """Have the system read a frame that will be asked for soon."""
        self.store.prefetch(self.rows[[index]])

    def flux(self, index: int) -> NDArray[np.float32]:
        """One frame, (3, 5000), in uW/m^2 and in time order."""
        flux: NDArray[np.float32] = self.store.frames(self.rows[[index]])[0]
        return flux

    def _read(self, rows: NDArray[np.int64], device: torch.device) -> Tensor:
        if device == _CPU and len(rows) <= _SLAB:
            return torch.from_numpy(self.representation.apply(self.store.frames(rows)))
        values = torch.empty((len(rows), *self.representation.shape), device=device)
        for first in range(0, len(rows), _SLAB):  # so that no second copy of all is made
            part = slice(first, first + _SLAB)
            values[part] = torch.from_numpy(self.representation.apply(self.store.frames(rows[part])))
        return values


def as_it_is(batch: Any) -> Any:
    """Hand on what a dataset gives for many indices at once, where a data loader would collate single items."""
    return batch
