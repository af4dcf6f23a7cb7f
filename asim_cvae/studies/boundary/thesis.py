"""Find the cause of the boundary issue in the thesis's trained weights: change one thing, and see where errors stay."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.inference import Model, load
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.nn.thesis_ends import Padding, ThesisEndsNetwork
from asim_cvae.studies.boundary.errors import BIN, LitFrames, measure_errors

TRIALS = ("as published", "ends of the decoder go on with their last value", "frames shifted by half their length")
"""What is done to the thesis's weights: nothing, one thing to their decoder, one thing to the frames."""


@dataclass(frozen=True)
class ThesisErrors:
    """Errors of the thesis's weights on background, a mean over the weights.

    Attributes:
        names: names of the weights.
        profiles: (W, 3, 1000) error at each bin under each of :data:`TRIALS`, of each of W weights.
        parameters: (2, 3, 5000) mean log alpha and log beta on background, of the weights as published, in the order of
            the decoder's sequence: time runs backwards in it.
    """

    names: tuple[str, ...]
    profiles: dict[str, NDArray[np.float64]]
    parameters: NDArray[np.float64]


def try_weights(folder: Path, frames: LitFrames) -> ThesisErrors | None:
    """Measure all weights in ``folder`` on background under each of :data:`TRIALS`; None if there are none.

    Those of the 2020 baseline, whose decoder lacks a normalisation, are left out.

    Raises:
        InputError: weights cannot be loaded.
    """
    background = frames.only(frames.is_noise)
    half = background.flux.shape[-1] // 2
    shifted = replace(
        background, flux=np.roll(background.flux, half, -1), rate=np.roll(background.rate, half // BIN, -1)
    )
    names: list[str] = []
    parameters: list[NDArray[np.float64]] = []
    profiles: dict[str, list[NDArray[np.float64]]] = {trial: [] for trial in TRIALS}
    for path in track(sorted(folder.glob("*.pth")), "measuring the thesis's weights", "network"):
        model = load(path)
        if not _has_thesis_ends(model):
            continue
        names.append(path.stem)
        parameters.append(_parameters(model, background))
        trials = ((model, background), (with_padding(model, "replicate"), background), (model, shifted))
        for trial, (tried, seen) in zip(TRIALS, trials, strict=True):
            profiles[trial].append(measure_errors(tried, seen)["background"].profile)
    if not names:
        return None
    stacked = {trial: np.stack(of_weights) for trial, of_weights in profiles.items()}
    return ThesisErrors(tuple(names), stacked, np.mean(parameters, axis=0))


@torch.inference_mode()
def _parameters(model: Model, frames: LitFrames) -> NDArray[np.float64]:
    """Mean log alpha and log beta, (2, 3, 5000), of the first 100 frames."""
    latents = torch.from_numpy(model.encode(frames.flux[:100]).mu)
    decoded = model.trained.module.network.decode(latents)
    return np.stack([values.mean(0).double().numpy() for values in decoded])


def with_padding(model: Model, padding: Padding) -> Model:
    """Return a model of the thesis's network whose decoder takes ``padding`` beyond the ends of its sequence.

    Raises:
        TypeError: the model has another network, or that of the 2020 baseline.
    """
    network = model.trained.module.network
    if not isinstance(network, ThesisNetwork) or not _has_thesis_ends(model):
        raise TypeError("only the thesis's own network can be given other ends")
    module = CVAEModule(_as_ends(network, padding), model.trained.module.likelihood).eval()
    return Model(replace(model.trained, module=module))


def _has_thesis_ends(model: Model) -> bool:
    network = model.trained.module.network
    return isinstance(network, ThesisNetwork) and network.settings["dropout"] is None


def _as_ends(network: ThesisNetwork, padding: Padding) -> ThesisEndsNetwork:
    ends = ThesisEndsNetwork(padding=padding, latent_dim=network.latent_dim, activation=network.settings["activation"])
    parts = (ends.convolutions, ends.linear, ends.expansion, ends.norm, ends.upsampling)
    own = [(part, key) for part in parts for key in part.state_dict()]
    weights = [*network.encoder.layers.state_dict().values(), *network.decoder.layers.state_dict().values()]
    for part in parts:
        part.load_state_dict({key: value for (owner, key), value in zip(own, weights, strict=True) if owner is part})
    return ends.eval()
