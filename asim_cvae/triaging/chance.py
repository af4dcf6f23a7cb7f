"""How often chance alone makes counts stand out: the distribution of the scan statistic, by parametric bootstrap.

``python -m asim_cvae.triaging.chance`` writes ``chance.json`` beside this module again: minutes.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from asim_cvae.base.files import atomic_write
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.triaging.excess import DARKEST, Array, find_excess

_FILE = "chance.json"
_RATES = (*np.geomspace(0.001, 1.0, 32), 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # of few counts, evidence takes steps
_CURVES, _AT_A_TIME = 12_000, 300
_LEVELS = np.arange(5.0, 25.5, 0.5)
_FEWEST = 50  # curves beyond a level from which it is counted; higher ones follow the slope of those below
_SLOPE_FROM = 2000  # curves beyond the first level that the slope is taken from
_STEP = 0.4  # how far steps move from one rate to the next


@dataclass(frozen=True)
class Chance:
    """How often chance alone makes a window of a light curve stand out.

    Attributes:
        samples: length of the light curve.
        rates: (R,) expected counts per sample, ascending.
        evidence: (E,) levels of evidence, ascending and evenly spaced.
        log_expected: (R, E) log of the expected number of windows that reach a level, those that overlap counted once.
    """

    samples: int
    rates: Array
    evidence: Array
    log_expected: Array

    def p_value(self, evidence: Array, rate: Array) -> Array:
        """Return the probability that light curves of these rates (N, T) reach the evidence (N,).

        The chances of their parts add up. Beyond the highest level they fall as exp(-evidence), as those of a
        likelihood ratio do.
        """
        step = self.evidence[1] - self.evidence[0]
        place = np.clip((evidence - self.evidence[0]) / step, 0, len(self.evidence) - 1)
        low = np.minimum(place.astype(np.int64), len(self.evidence) - 2)
        part = place - low
        at_level: Array = (1 - part) * self.log_expected[:, low] + part * self.log_expected[:, low + 1]  # (R, N)
        at_level -= np.maximum(evidence - self.evidence[-1], 0)
        log_rates, log_rate = np.log(self.rates), np.log(np.maximum(rate, DARKEST))
        share = rate.shape[1] / self.samples
        expected = [
            share * np.exp(np.interp(curve, log_rates, level)).mean()
            for curve, level in zip(log_rate, at_level.T, strict=True)
        ]
        return np.asarray(-np.expm1(-np.array(expected)))


def bootstrap(rate: float, curves: int, rng: np.random.Generator) -> Array:
    """Draw light curves as long as a frame and return the evidence that each has by chance, (curves,), ascending."""
    parts = []
    for first in range(0, curves, _AT_A_TIME):
        drawn = rng.poisson(rate, (min(_AT_A_TIME, curves - first), FRAME_SAMPLES)).astype(np.float64)
        parts.append(find_excess(drawn, np.full(drawn.shape, rate)).evidence)
    return np.sort(np.concatenate(parts))


def expected_windows(evidence: Array) -> Array:
    """Return log of the expected number of windows of a light curve at each level, from bootstrapped evidence.

    Counted is how many curves reach the level less a little, so that no probability is too small.
    """
    beyond = len(evidence) - np.searchsorted(evidence, _LEVELS - _STEP)
    counted = beyond >= _FEWEST
    share = np.minimum(beyond[counted] / len(evidence), 1 - 1 / len(evidence))
    log_expected = np.log(-np.log1p(-share))
    tail = beyond[counted] <= _SLOPE_FROM
    slope, height = np.polyfit(_LEVELS[counted][tail], log_expected[tail], 1)
    return np.append(log_expected, slope * _LEVELS[~counted] + height)


@cache
def read_chance() -> Chance:
    """Read the distribution that comes with the program."""
    content = json.loads((files(__package__) / _FILE).read_text())
    return Chance(content["samples"], *(np.array(content[name]) for name in ("rates", "evidence", "log_expected")))


def _main() -> None:
    curves = [
        expected_windows(bootstrap(rate, _CURVES, np.random.default_rng((1, k)))) for k, rate in enumerate(_RATES)
    ]
    write_chance(Path(__file__).with_name(_FILE), curves)


def write_chance(path: Path, log_expected: list[Array]) -> None:
    """Write the distribution at all rates."""
    rows = [np.round(row, 3).tolist() for row in log_expected]
    content = {"samples": FRAME_SAMPLES, "rates": _RATES, "evidence": _LEVELS.tolist(), "log_expected": rows}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
