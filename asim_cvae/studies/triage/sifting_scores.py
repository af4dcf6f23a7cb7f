"""Measure how well noise is removed, what promises cost, and where rare kinds stand among observations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from asim_cvae.base.errors import SettingError
from asim_cvae.instrument.classes import KINDS
from asim_cvae.recognition.calibration import Reliability, noise_threshold
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.recognition.scores import average_precision
from asim_cvae.scoring.clusters import Clustering, assign_to_nearest
from asim_cvae.studies.realism.thesis_weights import PROTOCOL
from asim_cvae.studies.triage.judged import Judged, share_of
from asim_cvae.studies.triage.sifting_sets import LabelledSet

Array = NDArray[np.float64]

KEEP = 0.99
"""Share of the event frames to keep."""

PROMISES = (0.9, 0.95, 0.99)
"""Shares of the event observations that are promised to be kept."""

CONFIDENCE = 0.95
"""Confidence of the promises."""

ONE_IN = 200
"""Observations of which one holds a rare kind."""


@dataclass(frozen=True)
class Removed:
    """What a threshold does: share of the noise frames that it removes, and of the event frames that it keeps."""

    noise: float
    events: float


def removed(noise: NDArray[np.floating], is_event: NDArray[np.bool_], threshold: float) -> Removed:
    """Remove the frames whose score of noise (N,) lies above a threshold."""
    is_removed = noise > threshold
    return Removed(share_of(is_removed[~is_event]), share_of(~is_removed[is_event]))


def keeping(noise: NDArray[np.floating], is_event: NDArray[np.bool_]) -> float:
    """Return the lowest threshold of a score of noise (N,) that keeps ``KEEP`` of the event frames."""
    return noise_threshold(noise.astype(np.float64), is_event, np.ones(len(noise)), KEEP)


@dataclass(frozen=True)
class OfMethod:
    """How much noise a method removes from a set.

    Attributes:
        chosen: by a threshold that was chosen on other frames.
        itself: by the threshold that keeps ``KEEP`` of the set's own event frames: an upper limit.
    """

    chosen: Removed
    itself: Removed


def by_score(chosen_on: tuple[Array, NDArray[np.bool_]], scored: tuple[Array, NDArray[np.bool_]]) -> OfMethod:
    """Measure a score of noise: of both sets the score (N,), and whether frames hold events (N,)."""
    return OfMethod(removed(*scored, keeping(*chosen_on)), removed(*scored, keeping(*scored)))


def by_saved(heads: TrainedHeads, name: str, scored: LabelledSet) -> Removed:
    """Remove noise by the threshold that was saved with heads."""
    return removed(scored.noise(name), scored.is_event, heads.calibration.noise_threshold)


def by_peaks(chosen_on: LabelledSet, scored: LabelledSet) -> OfMethod:
    """Measure the count of peaks: frames with fewer are rather noise."""
    return by_score(
        (-chosen_on.peaks.astype(float), chosen_on.is_event), (-scored.peaks.astype(float), scored.is_event)
    )


def by_clusters(chosen_on: LabelledSet, scored: LabelledSet) -> OfMethod | None:
    """Measure clusters of the thesis's latents: those with a larger share of noise are removed first.

    Clusters, their shares and how many are removed are those of the set to choose on, or of the scored set itself.
    """
    if chosen_on.latents is None or scored.latents is None:
        return None
    results = []
    for fitted in (chosen_on, scored):
        own, noise = _noise_of_clusters(fitted, scored)
        results.append(removed(noise, scored.is_event, keeping(own, fitted.is_event)))
    return OfMethod(*results)


def noisiest_cluster(chosen_on: LabelledSet, scored: LabelledSet) -> Removed | None:
    """Remove the one cluster of the thesis's latents with the largest share of noise in the set to choose on."""
    if chosen_on.latents is None or scored.latents is None:
        return None
    own, noise = _noise_of_clusters(chosen_on, scored)
    return removed(noise, scored.is_event, float(np.unique(own)[:-1].max(initial=0.0)))


def _noise_of_clusters(fitted: LabelledSet, scored: LabelledSet) -> tuple[Array, Array]:
    """Cluster the latents of a set; return the share of noise in the clusters of its frames, and of scored ones."""
    assert fitted.latents is not None
    assert scored.latents is not None
    clustering = PROTOCOL.cluster(fitted.latents)
    shares = _noise_shares(clustering, fitted.is_event)
    return shares[clustering.assignment], shares[assign_to_nearest(scored.latents, clustering.centres)]


def _noise_shares(clustering: Clustering, is_event: NDArray[np.bool_]) -> Array:
    """Return the share of noise in each cluster, (k,)."""
    return np.array([share_of(~is_event[clustering.assignment == k]) for k in range(len(clustering.centres))])


def joined(sets: Sequence[LabelledSet]) -> LabelledSet:
    """Return the frames of several archives as one set, without what was fitted to each; observations share numbers."""
    latents = [one.latents for one in sets if one.latents is not None]
    return LabelledSet(
        label=np.concatenate([one.label for one in sets]),
        observation=np.concatenate([one.observation for one in sets]),
        classes={name: np.concatenate([one.classes[name] for one in sets]) for name in sets[0].classes},
        fitted={},
        peaks=np.concatenate([one.peaks for one in sets]),
        latents=np.concatenate(latents) if latents else None,
    )


@dataclass(frozen=True)
class OfPromise:
    """What a promise costs and keeps on a set.

    Attributes:
        lost: number of event observations of which an event frame is dropped.
        observations: number of event observations.
        noise: share of the noise frames that are dropped.
    """

    lost: int
    observations: int
    noise: float


def measure_promises(heads: TrainedHeads, name: str, scored: LabelledSet) -> dict[str, OfPromise]:
    """Measure each of ``PROMISES`` that the heads can make, by its share."""
    found = {}
    for share in PROMISES:
        try:
            threshold = heads.promised_threshold(share, CONFIDENCE)
        except SettingError:
            continue  # their labels do not support it
        is_dropped = scored.noise(name) > threshold
        events = np.unique(scored.observation[scored.is_event])
        lost = np.unique(scored.observation[scored.is_event & is_dropped])
        found[f"{share:g}"] = OfPromise(len(lost), len(events), share_of(is_dropped[~scored.is_event]))
    return found


@dataclass(frozen=True)
class OfRank:
    """Where the observations of a kind stand among natural ones.

    Attributes:
        among: number of natural observations, without the kind and without others that are left aside.
        available: number of observations with the kind, from which is drawn.
        put_in: number of these that are put in at a time.
        precision: average precision of each draw.
        ranks: rank of each that was put in, of all draws; 1 is the highest score.
    """

    among: int
    available: int
    put_in: int
    precision: Sequence[float]
    ranks: Sequence[float]


@dataclass(frozen=True)
class OfSet:
    """What was measured on the labelled frames of an archive.

    Attributes:
        saved: by heads, with the threshold that was saved with them.
        heads: by heads, with other thresholds.
        peaks: by the count of peaks.
        thesis: by clusters of the thesis's latents; None without its weights.
        noisiest: by the one with the largest share of noise; None likewise.
        promises: by the share that is promised.
        noise_frames: number of noise frames.
        event_frames: number of event frames.
    """

    saved: Removed
    heads: OfMethod
    peaks: OfMethod
    thesis: OfMethod | None
    noisiest: Removed | None
    promises: Mapping[str, OfPromise]
    noise_frames: int
    event_frames: int


@dataclass(frozen=True)
class SiftingResults:
    """What was measured of one model.

    Attributes:
        sets: by archive and seed.
        reliability: by archive, before and after heads were fitted to observations of it.
        ranks: by score, then by kind.
    """

    sets: Mapping[str, OfSet]
    reliability: Mapping[str, Reliability]
    ranks: Mapping[str, Mapping[str, OfRank]]


def measure_ranks(
    natural: Judged,
    rare: Judged,
    scores: Mapping[str, str],
    aside: Sequence[str],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, OfRank]]:
    """Put observations with a rare kind into natural ones, again and again, and rank all.

    Args:
        natural: largest values of natural observations.
        rare: those of observations that each hold a rare kind.
        scores: names of scores of :meth:`Judged.score`, by what they are called; '' is the kind's probability.
        aside: kinds of which natural observations are left aside, beside those of the kind.
        draws: number of draws.
        rng: random numbers.

    Returns:
        By name of the score, then of the kind.
    """
    found: dict[str, dict[str, OfRank]] = {name: {} for name in scores}
    for kind in KINDS:
        is_other = ~np.any([natural.is_of(each) for each in {kind, *aside}], axis=0)
        others, held = natural.only(is_other), rare.only(rare.is_of(kind))
        put_in = max(1, round(len(others.observation) / (ONE_IN - 1)))
        if put_in > len(held.observation) or not len(others.observation):
            continue
        rows = [rng.choice(len(held.observation), put_in, replace=False) for _ in range(draws)]
        for name, score in scores.items():
            found[name][kind] = _ranked(others.score(score or kind), held.score(score or kind), rows)
    return found


def _ranked(others: Array, held: Array, rows: Sequence[NDArray[np.int64]]) -> OfRank:
    precision, ranks = [], []
    for chosen in rows:
        score = np.concatenate([held[chosen], others])
        target = np.arange(len(score)) < len(chosen)
        precision.append(average_precision(target, score, np.ones(len(score))) or 0.0)
        ranks += rankdata(-score)[: len(chosen)].tolist()
    return OfRank(len(others), len(held), len(rows[0]), precision, ranks)
