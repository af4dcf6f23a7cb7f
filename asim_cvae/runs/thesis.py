"""Load weights published with Joergensen 2021 (github.com/RCJoergensen/Synthesis_CVAE_ASIM)."""

from pathlib import Path

import torch
from torch import Tensor

from asim_cvae.base.errors import InputError, first_line
from asim_cvae.frames.representation import LinearScaling
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork

THESIS_REPRESENTATION = LinearScaling(time_reversed=True)
"""Representation that the published weights need: the thesis's program reversed each frame in time."""

_BASELINE_DROPOUT = 0.3
_PREFIXES = {"Encode.": "encoder.layers.", "Decode.": "decoder.layers."}


def load_thesis_weights(path: str | Path, activation: str | None = None) -> CVAEModule:
    """Load a published state dict into its network, in float32, on the CPU, in eval mode.

    The network takes frames in :data:`THESIS_REPRESENTATION`.

    Args:
        path: a ``.pth`` file.
        activation: 'relu' or 'leaky_relu'; by default 'leaky_relu' if the file's name contains ``LeakyRelu``, else
            'relu', as the keys of a state dict do not tell. They do tell the baseline of 2020.

    Raises:
        InputError: there is no such file, or it holds no state dict of this network.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    try:
        published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        baseline = "Decode.6.running_mean" not in published
        network = ThesisNetwork(
            activation=activation or ("leaky_relu" if "leakyrelu" in path.stem.lower() else "relu"),
            dropout=_BASELINE_DROPOUT if baseline else None,
        )
        network.load_state_dict({_rename(key): value for key, value in published.items() if key != "prior_params"})
    except Exception as error:  # torch.load raises errors of many types on other files
        raise InputError(f"{path}: no weights of the thesis's network ({first_line(error)})") from error
    return CVAEModule(network, BetaLikelihood()).eval()


def _rename(key: str) -> str:
    """Return this package's name of a published weight."""
    for published, own in _PREFIXES.items():
        if key.startswith(published):
            return own + key.removeprefix(published)
    return key
