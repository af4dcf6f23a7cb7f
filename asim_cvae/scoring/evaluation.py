"""Encode frames with a trained module, cluster their latents and score the clusters."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_cvae.data.datamodule import MMIADataModule, ScoredFrames
from asim_cvae.frames.representation import Representation
from asim_cvae.model.module import CVAEModule
from asim_cvae.model.objective import active_units, frame_log_likelihood
from asim_cvae.nn.contract import standard_posterior
from asim_cvae.scoring.clusters import (
    Clustering,
    ClusteringProtocol,
    SavedClusters,
    assign_to_nearest,
    probe_macro_f1,
    score_clusters,
)
from asim_cvae.scoring.scores import ClusterScores, Scores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FramePosteriors:
    """Posteriors of N frames. Latents, which may have any shape, are flattened to L values.

    Attributes:
        mu: (N, L) means.
        log_sigma: (N, L) logarithms of the standard deviations.
        description: (N, D) vectors by which the network describes the frames.
        log_px: (N,) log p(x|z) at z = mu, in nats.
        kl: (N,) KL terms, in nats.
    """

    mu: NDArray[np.float32]
    log_sigma: NDArray[np.float32]
    description: NDArray[np.float32]
    log_px: NDArray[np.float32]
    kl: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """Result of :func:`evaluate`.

    Attributes:
        frames: the scored frames.
        posterior: their posteriors.
        latents: (N, D) array that was clustered.
        clustering: clusters fitted on these frames; None if there are no frames or the latents are not finite.
        scores: all scores.
        protocol: settings of the clustering.
        device: type of the device that encoded the frames.
        described_by: by what the network describes a frame.
        saved: these frames in the clusters that were saved with the model; None if they were not assigned to them.
    """

    frames: ScoredFrames
    posterior: FramePosteriors
    latents: NDArray[np.float32]
    clustering: Clustering | None
    scores: Scores
    protocol: ClusteringProtocol
    device: str
    described_by: str
    saved: Clustering | None = None

    @property
    def assignment(self) -> NDArray[np.int64]:
        """Number of each frame's fitted cluster, (N,); -1 if it has none."""
        return self._assignment(self.clustering)

    @property
    def saved_assignment(self) -> NDArray[np.int64]:
        """Number of each frame's saved cluster, (N,); -1 if it has none."""
        return self._assignment(self.saved)

    def _assignment(self, clustering: Clustering | None) -> NDArray[np.int64]:
        return np.full(len(self.latents), -1) if clustering is None else clustering.assignment

    def clusters_to_save(self) -> SavedClusters | None:
        """Return the fitted clusters with their labels, for the model's export; None if there are none."""
        if self.clustering is None:
            return None
        labels = {cluster.cluster: cluster.label for cluster in self.scores.clusters}
        if self.protocol.latent == "sample":  # of another size than the descriptions by which later frames are assigned
            return SavedClusters.around_means(self.posterior.description, self.assignment, labels)
        centres = self.clustering.centres
        return SavedClusters(centres, tuple(labels.get(number) for number in range(len(centres))))

    def as_dict(self, run_info: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of ``scores.json``; ``run_info`` has experiment, seed, epochs, restarts."""
        return {
            **run_info,
            "frames": len(self.latents),
            "device": self.device,
            "described_by": self.described_by,
            "data": dict(self.frames.data),
            "protocol": asdict(self.protocol),
            **self.scores.as_dict(),
        }


@torch.inference_mode()
def encode_frames(module: CVAEModule, batches: Iterable[Tensor]) -> FramePosteriors:
    """Encode batches of represented frames (B, 3, T) on the module's device, in eval mode."""
    parts = []
    with in_eval_mode(module):
        for batch in batches:
            x = batch.to(module.device)
            (mu, log_sigma, kl), p_x, description = module.infer(x)
            columns = (mu.flatten(1), log_sigma.flatten(1), description, frame_log_likelihood(p_x, x), kl)
            parts.append([column.float().cpu() for column in columns])
    if not parts:
        matrix = np.zeros((0, 0), dtype=np.float32)
        return FramePosteriors(matrix, matrix, matrix, matrix.ravel(), matrix.ravel())
    return FramePosteriors(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


@torch.inference_mode()
def describe_frames(module: CVAEModule, batches: Iterable[Tensor], protocol: ClusteringProtocol) -> NDArray[np.float32]:
    """Encode batches of frames to the array (N, D) that the protocol clusters, by a module in eval mode."""
    on_device = (batch.to(module.device) for batch in batches)
    if protocol.latent == "mean":
        return torch.cat([module.describe(x) for x in on_device]).float().cpu().numpy()
    posteriors = [module.encode(x) for x in on_device]
    mu, log_sigma = (torch.cat(values).flatten(1).float().cpu() for values in list(zip(*posteriors, strict=True))[:2])
    return _sample(mu, log_sigma, protocol)


@torch.inference_mode()
def fit_description(module: CVAEModule, datamodule: MMIADataModule) -> None:
    """Let the network fit its descriptions to all training frames, in eval mode."""
    batches = (batch.to(module.device) for batch in datamodule.training_frames())
    with in_eval_mode(module):
        module.network.fit_description(batches, module.likelihood)


@torch.inference_mode()
def reconstruct(module: CVAEModule, x: Tensor, representation: Representation) -> NDArray[np.float32]:
    """Reconstruct a represented frame (3, T) as flux (3, 5000) in uW/m^2, in time order.

    The reconstruction is the mean of p(x|z) at the posterior mean.
    """
    with in_eval_mode(module):
        mean = module(x[None].to(module.device)).mean[0]
    return representation.invert(mean.float().cpu().numpy())


def evaluate(
    module: CVAEModule,
    datamodule: MMIADataModule,
    protocol: ClusteringProtocol,
    clusters: SavedClusters | None = None,
) -> Evaluation:
    """Encode the datamodule's scored frames, cluster their latents and score the clusters.

    Frames without labels are assigned to the ``clusters`` that were saved with the model, if there are any, so that the
    same frame is always in the same cluster. A network that diverged gives latents that are not finite: they are not
    clustered, and the scores are None.
    """
    frames = datamodule.scored_frames()
    log.info("encoding and scoring: %d frames", len(frames.file))
    posterior = encode_frames(module, datamodule.frames_loader(frames.dataset))
    latents, labels = posterior.description, frames.labels
    kept = clusters if labels is None else None
    if protocol.latent == "sample" and kept is None:
        latents = _sample(torch.from_numpy(posterior.mu), torch.from_numpy(posterior.log_sigma), protocol)
    finite = bool(np.isfinite(latents).all())
    clustering = None
    if finite and len(latents):
        clustering = protocol.cluster(latents) if kept is None else _assigned(latents, kept)
    scored = ClusterScores()
    if clustering is not None:
        scored = score_clusters(latents, clustering, labels, None if kept is None else kept.labels)
    active = active_units(torch.from_numpy(posterior.mu)) if finite else None
    scores = Scores(
        **vars(scored),
        probe_macro_f1=probe_macro_f1(latents, labels, frames.file) if clustering and labels is not None else None,
        active_units=active,
        dead=active == 0 if finite and len(latents) > 1 else None,
        log_px=_mean(posterior.log_px),
        kl=_mean(posterior.kl),
    )
    device, described_by = module.device.type, module.network.described_by
    return Evaluation(frames, posterior, latents, clustering, scores, protocol, device, described_by)


def score_saved(evaluation: Evaluation, clusters: SavedClusters | None) -> Evaluation:
    """Assign the frames to the cluster centres that were saved with the model, and score these clusters as well.

    Frames are assigned by their descriptions, even if samples were clustered: a frame's sample depends on the frames
    that are encoded with it. The evaluation is returned as it is if it has no clusters or the model has none.
    """
    if clusters is None or evaluation.clustering is None:
        return evaluation
    described = evaluation.posterior.description
    saved = _assigned(described, clusters)
    scores = score_clusters(described, saved, evaluation.frames.labels, clusters.labels)
    return replace(evaluation, saved=saved, scores=replace(evaluation.scores, saved=scores))


def _assigned(described: NDArray[np.float32], clusters: SavedClusters) -> Clustering:
    """Assign frames to saved clusters by their descriptions."""
    return Clustering(assign_to_nearest(described, clusters.centres), clusters.centres)


@contextmanager
def in_eval_mode(module: CVAEModule) -> Iterator[None]:
    """Switch a module to eval mode within the block."""
    was_training = module.training
    module.eval()
    yield
    module.train(was_training)


def _sample(mu: Tensor, log_sigma: Tensor, protocol: ClusteringProtocol) -> NDArray[np.float32]:
    """Draw one sample of each posterior, (N, L) on the CPU; the protocol's seed decides which."""
    return standard_posterior(mu, log_sigma).sample(torch.Generator().manual_seed(protocol.random_state)).numpy()


def _mean(values: NDArray[np.float32]) -> float | None:
    mean = float(values.astype(np.float64).mean()) if len(values) else float("nan")
    return mean if np.isfinite(mean) else None
