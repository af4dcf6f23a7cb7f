"""Augmentations: random changes of a batch of training frames under which an event stays what it is."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from asim_cvae.base.errors import InputError


class Augmentation(ABC):
    """Changes a batch at random; torch's generators, seeded step by step, draw."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Frames (B, 3, T) -> frames of the same shape; ``x`` itself stays as it is."""


class CircularShift(Augmentation):
    """Rotates each frame in time by a whole number of steps of its own, the same for its photometers."""

    def __call__(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        shifts = torch.randint(length, (len(x), 1, 1), device=x.device)
        places = (torch.arange(length, device=x.device) - shifts) % length
        return x.gather(-1, places.expand_as(x))


class Thinning(Augmentation):
    """Keeps each photon with a probability: counts of a fainter event, exactly (binomial thinning of Poisson counts).

    Args:
        share: of the frames, which are thinned.
        least: smallest probability; each thinned frame has one of its own between this and 1.
    """

    def __init__(self, share: float = 1 / 3, least: float = 0.3) -> None:
        if not (0 <= share <= 1 and 0 < least <= 1):
            raise InputError(f"share={share}, least={least}: both lie between 0 and 1")
        self.share = share
        self.least = least

    def __call__(self, x: Tensor) -> Tensor:
        shape = (len(x), 1, 1)
        kept = self.least + (1 - self.least) * torch.rand(shape, device=x.device)
        kept = torch.where(torch.rand(shape, device=x.device) < self.share, kept, torch.ones_like(kept))
        return torch.binomial(x, kept.expand_as(x).to(x.dtype))
