"""The thesis's weights on simulated frames, beside its published Table 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asim_cvae.base.progress import track
from asim_cvae.runs.thesis import THESIS_REPRESENTATION, load_thesis_weights
from asim_cvae.scoring.clusters import ClusteringProtocol, cluster_latents, score_clusters
from asim_cvae.scoring.evaluation import describe_frames
from asim_cvae.scoring.published import PUBLISHED_TABLE, PublishedRow, read_published
from asim_cvae.scoring.scores import ClusterScores
from asim_cvae.scoring.table import percent
from asim_cvae.studies.realism.samples import SimulatedFrames

WEIGHTS = "thesis_weights"
PROTOCOL = ClusteringProtocol(latent="sample")  # as the thesis scored

MDCC_TOLERANCE = 0.25
CERTAINTY_TOLERANCE = 12.0
PUREST_TOLERANCE = 15.0
ENOUGH_EXPERIMENTS = 8

_BATCH = 100


@dataclass(frozen=True)
class Outcome:
    """Of one clustering: mean MDCC, and the clusters' certainties in whole percent, the highest first."""

    mdcc: float
    certainties: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """One experiment of Table 1 beside its weights on simulated frames: one ``Outcome`` a seed."""

    experiment: str
    published: Outcome
    simulated: tuple[Outcome, ...]
    shuffled: tuple[Outcome, ...]

    def mdcc_ratio(self, outcomes: Sequence[Outcome]) -> float:
        """Median over seeds of mean MDCC over the published one."""
        return float(np.median([outcome.mdcc for outcome in outcomes]) / self.published.mdcc)

    def certainty_difference(self, outcomes: Sequence[Outcome]) -> float:
        """Median over seeds of the mean difference of sorted certainties, in points."""
        published = np.array(self.published.certainties)
        return float(np.median([np.abs(np.array(o.certainties) - published).mean() for o in outcomes]))

    def purest(self, outcomes: Sequence[Outcome]) -> float:
        """Median over seeds of the purest cluster's certainty."""
        return float(np.median([outcome.certainties[0] for outcome in outcomes]))


@dataclass(frozen=True)
class Verdict:
    """How far ten experiments agree; ``holds`` is True where all three are within the tolerances."""

    mdcc_within: int
    certainties_within: int
    purest: float
    purest_published: float

    @property
    def holds(self) -> bool:
        enough = min(self.mdcc_within, self.certainties_within) >= ENOUGH_EXPERIMENTS
        return enough and abs(self.purest - self.purest_published) <= PUREST_TOLERANCE


def verdict(agreements: Sequence[Agreement], shuffled: bool) -> Verdict:
    """Whether simulated frames, or the control with ``shuffled`` labels, agree with the published table."""
    pairs = [(a, a.shuffled if shuffled else a.simulated) for a in agreements]
    return Verdict(
        sum(abs(a.mdcc_ratio(o) - 1) <= MDCC_TOLERANCE for a, o in pairs),
        sum(a.certainty_difference(o) <= CERTAINTY_TOLERANCE for a, o in pairs),
        float(np.mean([a.purest(o) for a, o in pairs])),
        float(np.mean([a.published.certainties[0] for a in agreements])),
    )


def compare_weights(reference: Path, samples: Mapping[int, SimulatedFrames]) -> list[Agreement]:
    """Score the published weights on labelled simulated frames of some seeds, and on the same with labels shuffled."""
    scaled = {seed: _batches(frames) for seed, frames in samples.items()}
    agreements = []
    published = read_published(reference / PUBLISHED_TABLE)
    rows = [row for row in published if _weights_path(reference, row).is_file()]
    for row in track(rows, "scoring the thesis's weights", "network"):
        module = load_thesis_weights(_weights_path(reference, row))
        outcomes = []
        for seed, frames in samples.items():
            latents = describe_frames(module, scaled[seed], PROTOCOL)
            clustering = cluster_latents(latents, PROTOCOL)
            mixed = np.random.default_rng(seed).permutation(frames.label)
            outcomes.append([_outcome(score_clusters(latents, clustering, labels)) for labels in (frames.label, mixed)])
        plain, control = zip(*outcomes, strict=True)
        agreements.append(Agreement(row.experiment, _published(row), plain, control))
    return agreements


def _weights_path(reference: Path, row: PublishedRow) -> Path:
    """Where the weights of a row of Table 1 are."""
    return reference / WEIGHTS / f"{row.weights}.pth"


def missing_weights(reference: Path) -> list[str]:
    """Experiments of Table 1 whose weights ``reference`` lacks; `compare_weights` leaves them out."""
    rows = read_published(reference / PUBLISHED_TABLE)
    return [row.experiment for row in rows if not _weights_path(reference, row).is_file()]


def _batches(frames: SimulatedFrames) -> list[torch.Tensor]:
    scaled = torch.from_numpy(THESIS_REPRESENTATION.apply(frames.flux))
    return [scaled[first : first + _BATCH] for first in range(0, len(scaled), _BATCH)]


def _outcome(score: ClusterScores) -> Outcome:
    certainties = sorted((percent(c.certainty or 0.0) for c in score.clusters), reverse=True)
    return Outcome(float(np.mean([c.mdcc for c in score.clusters])), tuple(certainties))


def _published(row: PublishedRow) -> Outcome:
    certainties = sorted((c.certainty for c in row.clusters), reverse=True)
    return Outcome(float(np.mean([c.mdcc for c in row.clusters])), tuple(certainties))
