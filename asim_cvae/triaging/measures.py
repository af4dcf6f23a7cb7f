"""What a model tells of frames: their descriptions, their likelihood, how badly they fit, their classes and kinds."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import FLUX_PER_COUNT, flux_to_counts
from asim_cvae.model.objective import frame_log_likelihood
from asim_cvae.recognition.heads import Recognition, TrainedHeads
from asim_cvae.runs.export import TrainedModel
from asim_cvae.scoring.evaluation import in_eval_mode
from asim_cvae.triaging.misfit import Misfit, misfit


@dataclass(frozen=True)
class Measures:
    """What a model, and heads if there are any, tell of N frames.

    Attributes:
        description: (N, D) vectors by which the model describes frames.
        log_px: (N,) log p(x|z) at the posterior mean, in nats.
        kl: (N,) KL terms, in nats.
        misfit: how badly the reconstructions fit.
        told: what the heads tell; None without heads.
    """

    description: NDArray[np.float32]
    log_px: NDArray[np.float32]
    kl: NDArray[np.float32]
    misfit: Misfit
    told: Recognition | None


@torch.inference_mode()
def measure_frames(model: TrainedModel, heads: TrainedHeads | None, flux: NDArray[np.float32]) -> Measures:
    """Measure frames of flux (N, 3, 5000) in uW/m^2, in one batch, so that memory grows with N."""
    module = model.module
    x = torch.from_numpy(model.representation.apply(flux)).to(module.device)
    with in_eval_mode(module):
        posterior, p_x, description = module.infer(x)
    reconstructed = model.representation.invert(p_x.mean.float().cpu().numpy())
    return Measures(
        description=description.float().cpu().numpy(),
        log_px=frame_log_likelihood(p_x, x).float().cpu().numpy(),
        kl=posterior.kl.float().cpu().numpy(),
        misfit=misfit(np.rint(counts_of(flux)), counts_of(reconstructed)),
        told=None if heads is None else heads.recognize(flux),
    )


def counts_of(flux: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return counts (N, 3, T) per sample of flux in uW/m^2, by the nominal flux per count, as networks take them."""
    return flux_to_counts(flux, FLUX_PER_COUNT)
