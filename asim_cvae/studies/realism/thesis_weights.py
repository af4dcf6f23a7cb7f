"""Score the thesis's published weights on simulated frames and compare with its Table 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asim_cvae.base.progress import track
from asim_cvae.runs.thesis import THESIS_REPRESENTATION, load_thesis_weights
from asim_cvae.scoring.clusters import ClusteringProtocol, score_clusters
from asim_cvae.scoring.evaluation import describe_frames
from asim_cvae.scoring.published import PUBLISHED_TABLE, PublishedRow, read_published
from asim_cvae.scoring.scores import ClusterScores
from asim_cvae.scoring.table import percent
from asim_cvae.simulator.frames import SimulatedFrames

WEIGHTS = "thesis_weights"
"""Name of the folder of the weights in the reference folder."""

PROTOCOL = ClusteringProtocol(latent="sample")
"""The clustering of the thesis."""

MDCC_TOLERANCE = 0.25
"""Largest relative difference of an experiment's mean MDCC from the published one."""

CERTAINTY_TOLERANCE = 12.0
"""Largest mean difference of an experiment's sorted certainties from the published ones, in percentage points."""

PUREST_TOLERANCE = 15.0
"""Largest difference of the purest cluster's mean certainty from the published one, in percentage points."""

ENOUGH_EXPERIMENTS = 8
"""Experiments of ten that must lie within each of the first two tolerances."""

_BATCH = 100


@dataclass(frozen=True)
class Outcome:
    """Scores of one clustering: mean MDCC, and the clusters' certainties in whole percent, in descending order."""

    mdcc: float
    certainties: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """Published and simulated scores of one experiment of Table 1.

    Attributes:
        experiment: its name.
        published: scores in Table 1.
        simulated: scores of its weights on simulated frames, one for each seed.
        shuffled: the same with shuffled labels, as a control.
    """

    experiment: str
    published: Outcome
    simulated: tuple[Outcome, ...]
    shuffled: tuple[Outcome, ...]

    def mdcc_ratio(self, outcomes: Sequence[Outcome]) -> float:
        """Median over seeds of the mean MDCC, divided by the published one."""
        return float(np.median([outcome.mdcc for outcome in outcomes]) / self.published.mdcc)

    def certainty_difference(self, outcomes: Sequence[Outcome]) -> float:
        """Median over seeds of the mean difference between sorted certainties, in percentage points."""
        published = np.array(self.published.certainties)
        return float(np.median([np.abs(np.array(o.certainties) - published).mean() for o in outcomes]))

    def purest(self, outcomes: Sequence[Outcome]) -> float:
        """Median over seeds of the purest cluster's certainty, in percent."""
        return float(np.median([outcome.certainties[0] for outcome in outcomes]))


@dataclass(frozen=True)
class Verdict:
    """Agreement of all experiments with the published table.

    Attributes:
        mdcc_within: number of experiments whose mean MDCC is within its tolerance.
        certainties_within: number of experiments whose certainties are within theirs.
        purest: certainty of the purest cluster in percent, averaged over experiments.
        purest_published: the same in the published table.
    """

    mdcc_within: int
    certainties_within: int
    purest: float
    purest_published: float

    @property
    def holds(self) -> bool:
        """Return whether all three agree within their tolerances."""
        enough = min(self.mdcc_within, self.certainties_within) >= ENOUGH_EXPERIMENTS
        return enough and abs(self.purest - self.purest_published) <= PUREST_TOLERANCE


def verdict(agreements: Sequence[Agreement], shuffled: bool) -> Verdict:
    """Judge the agreement of simulated frames, or of the control with ``shuffled`` labels, with the published table."""
    pairs = [(a, a.shuffled if shuffled else a.simulated) for a in agreements]
    return Verdict(
        sum(abs(a.mdcc_ratio(o) - 1) <= MDCC_TOLERANCE for a, o in pairs),
        sum(a.certainty_difference(o) <= CERTAINTY_TOLERANCE for a, o in pairs),
        float(np.mean([a.purest(o) for a, o in pairs])),
        float(np.mean([a.published.certainties[0] for a in agreements])),
    )


def compare_weights(reference: Path, samples: Mapping[int, SimulatedFrames]) -> list[Agreement]:
    """Score the published weights on labelled simulated frames, and again with the labels shuffled.

    Args:
        reference: folder that holds the published table and weights; experiments without weights are skipped.
        samples: labelled frames by seed.

    Raises:
        InputError: the table or a file of weights cannot be read.
    """
    scaled = {seed: thesis_batches(frames) for seed, frames in samples.items()}
    agreements = []
    published = read_published(reference / PUBLISHED_TABLE)
    rows = [row for row in published if _weights_path(reference, row).is_file()]
    for row in track(rows, "scoring the thesis's weights", "network"):
        module = load_thesis_weights(_weights_path(reference, row))
        outcomes = []
        for seed, frames in samples.items():
            latents = describe_frames(module, scaled[seed], PROTOCOL)
            clustering = PROTOCOL.cluster(latents)
            shuffled = np.random.default_rng(seed).permutation(frames.label)
            scores = [score_clusters(latents, clustering, labels) for labels in (frames.label, shuffled)]
            outcomes.append([_outcome(score) for score in scores])
        plain, control = zip(*outcomes, strict=True)
        agreements.append(Agreement(row.experiment, _published_outcome(row), plain, control))
    return agreements


def _weights_path(reference: Path, row: PublishedRow) -> Path:
    return reference / WEIGHTS / f"{row.weights}.pth"


def missing_weights(reference: Path) -> list[str]:
    """List the experiments of Table 1 whose weights ``reference`` lacks; :func:`compare_weights` skips them."""
    rows = read_published(reference / PUBLISHED_TABLE)
    return [row.experiment for row in rows if not _weights_path(reference, row).is_file()]


def thesis_batches(frames: SimulatedFrames) -> list[torch.Tensor]:
    """Return frames as the published weights take them, in batches (n, 3, 5000)."""
    scaled = torch.from_numpy(THESIS_REPRESENTATION.apply(frames.flux))
    return [scaled[first : first + _BATCH] for first in range(0, len(scaled), _BATCH)]


def _outcome(score: ClusterScores) -> Outcome:
    certainties = sorted((percent(c.certainty or 0.0) for c in score.clusters), reverse=True)
    return Outcome(float(np.mean([c.mdcc for c in score.clusters])), tuple(certainties))


def _published_outcome(row: PublishedRow) -> Outcome:
    certainties = sorted((c.certainty for c in row.clusters), reverse=True)
    return Outcome(float(np.mean([c.mdcc for c in row.clusters])), tuple(certainties))
