"""Measure anomaly scores: misfit of chance, brightness and particle hits, and what each score finds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from asim_cvae.inference import Model
from asim_cvae.instrument.classes import KINDS
from asim_cvae.instrument.photometers import COUNTER_LIMIT, counts_to_flux
from asim_cvae.studies.triage.dark import DarkFrames
from asim_cvae.studies.triage.judged import KL, LIKELIHOOD, SCORES, Judged, log_misfit, share_of
from asim_cvae.triaging.excess import DARKEST, without_hits
from asim_cvae.triaging.measures import counts_of, measure_frames
from asim_cvae.triaging.misfit import misfit

Array = NDArray[np.float64]

LEVELS = (0.1, 0.01, 0.001)
"""Probabilities p below which misfit is counted."""

LARGEST = 1.2
"""Largest share of frames of chance alone below p, as a multiple of p."""

INDEPENDENT = 0.1
"""Largest rank correlation of misfit and brightness, of counts that fit."""

TOP = 0.01
"""Share of natural frames without a kind, above which a score finds it."""

OWN = "probability of the kind"
"""Name of the score that is the heads' probability of the very kind."""

STROKES = "none of these"
"""Name of frames of observations with rare kinds that hold none."""


@dataclass(frozen=True)
class OfChance:
    """How often frames without light have a small misfit.

    Attributes:
        frames: number of frames.
        below: (4, 3) number of frames below each of ``LEVELS``: by any photometer, then by each alone.
        hits: number of particle hits in them that stand out by 5 standard deviations.
        left_out: number of these that were left out.
        runs: number of runs of samples that were left out, hits or not.
    """

    frames: int
    below: NDArray[np.int64]
    hits: int
    left_out: int
    runs: int

    @property
    def shares(self) -> Array:
        """Share of frames below each level, (4, 3)."""
        return np.asarray(self.below / self.frames)

    @property
    def errors(self) -> Array:
        """Binomial standard deviations of the shares, were they p, (3,)."""
        levels = np.array(LEVELS)
        return np.asarray(np.sqrt(levels * (1 - levels) / self.frames))


def measure_chance(model: Model, frames: Iterable[DarkFrames]) -> OfChance:
    """Count small misfits and left out hits of frames without light."""
    total, below, hits, found, runs = 0, np.zeros((4, len(LEVELS)), dtype=np.int64), 0, 0, 0
    for dark in frames:
        counts, rate = np.rint(counts_of(dark.flux)), counts_of(model.reconstruct(dark.flux))
        told = misfit(counts, rate)
        p = np.column_stack([told.p, told.of_photometers])
        below += (p[:, :, None] < np.array(LEVELS)).sum(0)
        total, hits, runs = total + len(counts), hits + len(dark.hits), runs + int(told.excess.hits.sum())
        found += _left_out(counts, rate, dark.hits)
    return OfChance(total, below, hits, found, runs)


def _left_out(counts: NDArray[np.floating], rate: NDArray[np.floating], hits: NDArray[np.int64]) -> int:
    """Count the hits, given by frame, photometer and sample of their peak, that are left out."""
    if not len(hits):
        return 0
    curves, rates = (values.reshape(-1, values.shape[2]).astype(np.float64) for values in (counts, rate))
    is_replaced = (without_hits(curves, np.maximum(rates, DARKEST))[0] != curves).reshape(counts.shape)
    return int(is_replaced[tuple(hits.T)].sum())


SAME, AGAIN = "misfit, same rate", "misfit, rate of the drawn counts"
"""Names of the misfit of drawn counts: to the rate that they were drawn from, and to the one reconstructed of them."""


@dataclass(frozen=True)
class OfBrightness:
    """How scores of counts that were drawn from a reconstructed rate go with brightness.

    Attributes:
        frames: number of frames.
        correlation: by score, then by what is bright: rank correlation (Spearman). The scores are ``SAME``, ``AGAIN``,
            and of the drawn counts ``LIKELIHOOD`` and ``KL``.
        below: by ``SAME`` and ``AGAIN``: share of frames whose misfit lies below each of ``LEVELS``.
    """

    frames: int
    correlation: Mapping[str, Mapping[str, float]]
    below: Mapping[str, Sequence[float]]


def measure_brightness(model: Model, flux: Iterable[NDArray[np.float32]], rng: np.random.Generator) -> OfBrightness:
    """Draw counts of reconstructed rates, and correlate their scores with how bright the rates are.

    Args:
        model: the model.
        flux: batches (n, 3, 5000) of natural frames in uW/m^2.
        rng: random numbers.
    """
    parts = [_drawn(model, batch, rng) for batch in flux]
    scores, bright = ({name: np.concatenate([part[k][name] for part in parts]) for name in parts[0][k]} for k in (0, 1))
    return OfBrightness(
        frames=len(scores[SAME]),
        correlation={
            name: {what: rank_correlation(score, values) for what, values in bright.items()}
            for name, score in scores.items()
        },
        below={name: [float((scores[name] > -np.log10(level)).mean()) for level in LEVELS] for name in (SAME, AGAIN)},
    )


def _drawn(
    model: Model, flux: NDArray[np.float32], rng: np.random.Generator
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return scores of counts that are drawn from the reconstructions of frames, and how bright these are."""
    rate = counts_of(model.reconstruct(flux))
    counts = np.minimum(rng.poisson(rate), COUNTER_LIMIT)
    drawn = np.stack([counts_to_flux(frame) for frame in counts]).astype(np.float32)
    measures = measure_frames(model.trained, None, drawn)
    scores: dict[str, Array] = {
        SAME: log_misfit(misfit(counts, rate)),
        AGAIN: log_misfit(measures.misfit),
        LIKELIHOOD: -measures.log_px.astype(np.float64),
        KL: measures.kl.astype(np.float64),
    }
    bright = {
        "photons of the frame": rate.sum((1, 2)),
        "brightest sample": rate.max((1, 2)),
        "photons at 337 nm": rate[:, 0].sum(1),
        "photons at 777.4 nm": rate[:, 2].sum(1),
    }
    return scores, bright


def rank_correlation(score: Array, brightness: Array) -> float:
    """Return Spearman's rank correlation; 0 where one of both is the same everywhere."""
    if min(np.ptp(score), np.ptp(brightness)) == 0:
        return 0.0
    return float(spearmanr(score, brightness).statistic)


@dataclass(frozen=True)
class OfRecall:
    """What scores find at the top of natural frames.

    Attributes:
        frames: number of frames that hold each kind, and that hold none of them (``STROKES``).
        recall: by name of the score, then of the kind: share of the frames that lie above all but 1 % of the natural
            frames without the kind.
        brightness: by name of the score: rank correlation with the brightest sample of natural frames.
    """

    frames: Mapping[str, int]
    recall: Mapping[str, Mapping[str, float]]
    brightness: Mapping[str, float]


@dataclass(frozen=True)
class ScoreResults:
    """What was measured of the scores of one model.

    Attributes:
        chance: of frames without light, by the names of ``DARK``.
        brightness: of counts that fit.
        recall: of rare kinds.
    """

    chance: Mapping[str, OfChance]
    brightness: OfBrightness
    recall: OfRecall


def measure_recall(natural: Judged, rare: Judged) -> OfRecall:
    """Measure what each score finds of each kind.

    Args:
        natural: frames as archives have them, which give the thresholds.
        rare: frames of observations that each hold a rare kind.
    """
    of_kinds = {kind: rare.is_of(kind) for kind in KINDS}
    strokes = ~rare.holds.any(1)
    recall: dict[str, dict[str, float]] = {}
    for name in SCORES:
        recall[name] = {kind: _recall(natural, rare, name, kind) for kind in KINDS}
        above = rare.score(name)[strokes] > np.quantile(natural.score(name), 1 - TOP)
        recall[name][STROKES] = share_of(above)
    recall[OWN] = {kind: _recall(natural, rare, kind, kind) for kind in KINDS}
    frames = {**{kind: int(held.sum()) for kind, held in of_kinds.items()}, STROKES: int(strokes.sum())}
    brightness = {name: rank_correlation(natural.score(name), natural.brightest) for name in SCORES}
    return OfRecall(frames, recall, brightness)


def _recall(natural: Judged, rare: Judged, name: str, kind: str) -> float:
    others, held = natural.score(name)[~natural.is_of(kind)], rare.score(name)[rare.is_of(kind)]
    return share_of(held > np.quantile(others, 1 - TOP)) if len(others) else float("nan")
