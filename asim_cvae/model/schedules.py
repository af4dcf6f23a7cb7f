"""Schedules of a training: the KL term's weight, the learning rate, terms of a likelihood.

A schedule is a function of where the training stands and of nothing else: a resumed run takes the same values.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch.optim import Optimizer

from asim_cvae.base.errors import InputError


@dataclass(frozen=True)
class Progress:
    """A point of a training: the epoch, from 0, the number of epochs, and the share of all steps that is done."""

    epoch: int
    epochs: int
    done: float


class Schedule(ABC):
    """A value in the course of a training."""

    @abstractmethod
    def __call__(self, progress: Progress) -> float:
        """The value at this point of the training."""


@dataclass(frozen=True)
class EpochWarmup(Schedule):
    """A rise from 0 to 1 in equal steps, one an epoch, over the first ``round(share * epochs)`` epochs, then 1.

    The thesis's weight of the KL term (Joergensen 2021, 3.3, after Soenderby et al. 2016, arXiv:1602.02282). A share of
    0 gives 1 throughout.
    """

    share: float

    def __post_init__(self) -> None:
        _check_share("share", self.share)

    def __call__(self, progress: Progress) -> float:
        warmup_epochs = round(self.share * progress.epochs)
        return min(progress.epoch / warmup_epochs, 1.0) if warmup_epochs else 1.0


@dataclass(frozen=True)
class Ramp(Schedule):
    """A straight line from ``start`` to ``end`` over the first ``share`` of all steps, then ``end``."""

    start: float = 0.0
    end: float = 1.0
    share: float = 0.5

    def __post_init__(self) -> None:
        _check_share("share", self.share)

    def __call__(self, progress: Progress) -> float:
        done = min(progress.done / self.share, 1.0) if self.share else 1.0
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A rise from ``start`` to 1 over the share ``rise`` of all steps and a fall to ``end``, each half a cosine.

    As a factor of the learning rate: the one-cycle policy (Smith and Topin 2019, arXiv:1708.07120).
    """

    start: float = 0.04
    end: float = 1e-5
    rise: float = 0.3

    def __post_init__(self) -> None:
        _check_share("rise", self.rise)

    def __call__(self, progress: Progress) -> float:
        if progress.done < self.rise:
            return _half_cosine(self.start, 1.0, progress.done / self.rise)
        return _half_cosine(1.0, self.end, (progress.done - self.rise) / (1 - self.rise)) if self.rise < 1 else 1.0


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set the learning rate to ``factor`` times that which the optimiser was made with."""
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["lr"] * factor


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise InputError(f"{name}={share}: a share of the training, from 0 to 1")
