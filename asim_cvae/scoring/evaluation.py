"""Encode frames with a trained module and score what comes out."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_cvae.data.datamodule import MMIADataModule, ScoredFrames
from asim_cvae.frames.scaling import Scaling
from asim_cvae.model.module import CVAEModule
from asim_cvae.model.objective import active_units, frame_log_likelihood, gaussian_kl, sample_latent
from asim_cvae.scoring.clusters import (
    Clustering,
    ClusteringProtocol,
    ClusterScore,
    cluster_latents,
    probe_macro_f1,
    score_clusters,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Posterior:
    """Posteriors of N frames: ``mu`` and ``log_sigma`` (N, latent_dim), log p(x|z) at z = mu and the KL term, (N,)."""

    mu: NDArray[np.float32]
    log_sigma: NDArray[np.float32]
    log_px: NDArray[np.float32]
    kl: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """Scored frames, what they were encoded to, and the scores."""

    frames: ScoredFrames
    posterior: Posterior
    latents: NDArray[np.float32]
    clustering: Clustering | None
    clusters: ClusterScore
    scores: dict[str, Any]

    @property
    def assignment(self) -> NDArray[np.int64]:
        """Cluster of each frame, -1 where there is none."""
        return np.full(len(self.latents), -1) if self.clustering is None else self.clustering.assignment


@torch.inference_mode()
def encode_frames(module: CVAEModule, batches: Iterable[Tensor]) -> Posterior:
    """Encode batches of scaled frames on the module's device, in eval mode."""
    was_training = module.training
    module.eval()
    parts = []
    for batch in batches:
        x = batch.to(module.device)
        mu, log_sigma = module.encode(x)
        log_px = frame_log_likelihood(module.decode(mu), x)
        parts.append([t.float().cpu() for t in (mu, log_sigma, log_px, gaussian_kl(mu, log_sigma))])
    module.train(was_training)
    if not parts:
        none = np.zeros((0, 0), dtype=np.float32)
        return Posterior(none, none, none[:, 0:0].ravel(), none[:, 0:0].ravel())
    return Posterior(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


@torch.inference_mode()
def encode_latents(module: CVAEModule, batches: Iterable[Tensor], protocol: ClusteringProtocol) -> NDArray[np.float32]:
    """Latents (N, latent_dim) of batches of scaled frames, as the protocol scores them, by a module in eval mode."""
    mu, log_sigma = zip(*(module.encode(batch.to(module.device)) for batch in batches), strict=True)
    return _latents(torch.cat(mu).float().cpu().numpy(), torch.cat(log_sigma).float().cpu().numpy(), protocol)


@torch.inference_mode()
def reconstruct(module: CVAEModule, x: Tensor, scaling: Scaling) -> NDArray[np.float32]:
    """Mean of p(x|z) at the posterior mean of a scaled frame (3, 5000), as flux in uW/m^2 in time order."""
    was_training = module.training
    module.eval()
    mean = module(x[None].to(module.device)).mean[0]
    module.train(was_training)
    return scaling.unscale(mean.float().cpu().numpy())


def evaluate(module: CVAEModule, datamodule: MMIADataModule, protocol: ClusteringProtocol) -> Evaluation:
    """Encode the datamodule's scored frames, cluster their latents and score the clusters.

    ``scores`` lacks what only the caller knows: experiment, seed, epochs, restarts. Latents that are not finite, of a
    network that diverged, are not clustered, and every score is None.
    """
    frames = datamodule.scored_frames()
    log.info("encoding and scoring: %d frames", len(frames.file))
    posterior = encode_frames(module, datamodule.frames_loader(frames.dataset))
    latents = _latents(posterior.mu, posterior.log_sigma, protocol)
    labels = frames.labels
    finite = bool(np.isfinite(latents).all())
    clustering = cluster_latents(latents, protocol) if finite and len(latents) else None
    clusters = score_clusters(latents, clustering, labels) if clustering else ClusterScore()
    scores = {
        "frames": len(latents),
        "device": module.device.type,
        "data": dict(frames.data),
        "protocol": {"clusters": protocol.clusters, "n_init": protocol.n_init, "random_state": protocol.random_state,
                     "latent": protocol.latent},
        **clusters.as_dict(),
        "probe_macro_f1": probe_macro_f1(latents, labels, frames.file) if clustering and labels is not None else None,
        "active_units": active_units(torch.from_numpy(posterior.mu)) if finite else None,
        "log_px": _mean(posterior.log_px),
        "kl": _mean(posterior.kl),
    }  # fmt: skip
    return Evaluation(frames, posterior, latents, clustering, clusters, scores)


def _latents(
    mu: NDArray[np.float32], log_sigma: NDArray[np.float32], protocol: ClusteringProtocol
) -> NDArray[np.float32]:
    if protocol.latent == "mean":
        return mu
    generator = torch.Generator().manual_seed(protocol.random_state)
    return sample_latent(torch.from_numpy(mu), torch.from_numpy(log_sigma), generator).numpy()


def _mean(values: NDArray[np.float32]) -> float | None:
    mean = float(values.astype(np.float64).mean()) if len(values) else float("nan")
    return mean if np.isfinite(mean) else None
