"""The order of training frames: another one each epoch, the same whenever an epoch is drawn again."""

from collections.abc import Callable, Iterator
from itertools import zip_longest

import torch
from torch.utils.data import Sampler

from asim_cvae.base.seeds import derived_seed


class EpochShuffle(Sampler[int]):
    """An order of ``size`` items for each epoch, a function of seed and epoch alone: a resumed run draws it again.

    Of several ``processes`` each has a share of it, as large as every other's. Items are prefetched ``ahead`` items
    before they come.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
        prefetch: Callable[[int], None] | None = None,
        ahead: int = 0,
    ) -> None:
        self.size = size
        self.seed = seed
        self.process = process
        self.processes = processes
        self.prefetch = prefetch
        self.ahead = ahead
        self.epoch = 0
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self.epoch = epoch

    def skip_once(self, items: int) -> None:
        """Leave out the first ``items`` of the next order: they were used before the run was interrupted."""
        self._skip = items

    def __len__(self) -> int:
        return self.size // self.processes

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        skip, self._skip = self._skip, 0
        order = torch.randperm(self.size, generator=generator)[self.process :: self.processes][: len(self)]
        items: list[int] = order[skip:].tolist()
        for item, later in zip_longest(items, items[self.ahead :]):
            if self.prefetch is not None and later is not None:
                self.prefetch(later)
            yield item
