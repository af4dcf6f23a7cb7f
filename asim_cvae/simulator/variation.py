"""Ranges by which archives can differ, and what one observation draws from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from asim_cvae.base.errors import InputError
from asim_cvae.simulator.events import log_uniform


@dataclass(frozen=True)
class Factors:
    """By what the light and the calibration of one observation differ from the default ones; each is a factor.

    Attributes:
        width: of all times of a pulse of light. Particle hits keep theirs.
        rate: of the pulses of a flash per second. Particle hits keep theirs.
        brightness: of the peaks of pulses of light. Particle hits keep theirs.
        background: of the background rates.
        gain: of q, the flux per count. Beyond 3 % of its nominal value a reader does not find q in the flux.
    """

    width: float = 1.0
    rate: float = 1.0
    brightness: float = 1.0
    background: float = 1.0
    gain: float = 1.0


@dataclass(frozen=True)
class Variation:
    """Ranges of :class:`Factors`: each a pair, lowest and highest, between which observations draw log-uniformly.

    Raises:
        InputError: a range is not a pair of numbers above 0, the lower one first.
    """

    width: Sequence[float] = (1.0, 1.0)
    rate: Sequence[float] = (1.0, 1.0)
    brightness: Sequence[float] = (1.0, 1.0)
    background: Sequence[float] = (1.0, 1.0)
    gain: Sequence[float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            values = list(getattr(self, field.name))
            if len(values) != 2 or not 0 < values[0] <= values[1]:
                raise InputError(f"variation.{field.name}={values}: give two numbers above 0, the lower one first")
            object.__setattr__(self, field.name, [float(value) for value in values])  # JSON knows no other sequence

    def draw(self, rng: np.random.Generator) -> Factors:
        """Draw the factors of one observation."""
        return Factors(**{field.name: log_uniform(rng, *getattr(self, field.name)) for field in fields(self)})
