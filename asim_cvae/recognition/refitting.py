"""Fit the class head again to frames that a user labelled."""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from asim_cvae.base.errors import InputError
from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.nn.heads import HeadsNetwork
from asim_cvae.recognition.calibration import Calibration, fit_temperature, folds_by_observation, noise_threshold
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.training import logits

FEWEST = 5
"""Fewest labelled observations to which heads are fitted again."""

_RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Strengths of the pull towards the head as it was trained, of which cross-validation chooses one."""


@dataclass(frozen=True)
class Refitted:
    """Heads that were fitted to labelled frames.

    Attributes:
        heads: the heads.
        crossed: (N, 5) probabilities of the classes of these frames, each by heads fitted to other observations.
    """

    heads: TrainedHeads
    crossed: NDArray[np.float64]


def refit(
    heads: TrainedHeads,
    values: NDArray[np.float32],
    label: NDArray[np.int64],
    observation: NDArray[np.int64],
    source: LabelledBy,
    is_random: NDArray[np.bool_] | None = None,
) -> Refitted:
    """Fit class head, temperature and threshold of noise to labelled frames; the kinds stay as they are.

    The head moves from its weights as far as these frames ask for it: its change is pulled towards nothing by the
    strength that predicts other observations best, in five folds. Temperature and threshold are those of predictions
    of other observations. What stood behind a promise before is gone.

    Args:
        heads: trained heads.
        values: (N, C, T) represented frames.
        label: (N,) their classes, as indices.
        observation: (N,) numbers that tell observations apart.
        source: where the frames come from.
        is_random: (N,) whether the frame's observation was labelled by chance; the threshold is chosen by these alone,
            not lowered by fewer events than it may lose one of, and drops nothing where there is none. None: all were.

    Raises:
        InputError: the frames are of fewer than five observations, or of one class.
    """
    features, before, _ = logits(heads.network, values)
    return refit_seen(heads, features, before, label, observation, source, is_random)


def refit_seen(
    heads: TrainedHeads,
    features: NDArray[np.float32],
    before: NDArray[np.float32],
    label: NDArray[np.int64],
    observation: NDArray[np.int64],
    source: LabelledBy,
    is_random: NDArray[np.bool_] | None = None,
) -> Refitted:
    """As :func:`refit`, of frames whose features (N, F) to these heads, and logits (N, 5), are known."""
    count = len(np.unique(observation))
    if count < FEWEST:
        raise InputError(f"{count} labelled observations: at least {FEWEST} are needed to fit heads to them")
    if len(np.unique(label)) < 2:
        raise InputError(f"all labelled frames are {CLASSES[label[0]]}: at least two classes are needed")
    spread = np.maximum(features.std(0), 1e-6)
    folds = list(folds_by_observation(observation, FEWEST))

    def crossed(ridge: float) -> NDArray[np.float64]:
        """Logits of the frames by heads that were fitted to other observations."""
        result = np.zeros(before.shape)
        for fold in folds:
            change = _fit(features[~fold] / spread, before[~fold], label[~fold], ridge)
            result[fold] = _moved(features[fold] / spread, before[fold], change)
        return result

    tried = {ridge: crossed(ridge) for ridge in _RIDGES}
    ridge = min(tried, key=lambda ridge: _loss(tried[ridge], label))
    even = np.ones(len(label))
    temperature = fit_temperature(tried[ridge], label, even)
    probability = softmax(tried[ridge] / temperature, axis=1)
    is_noise = label == CLASSES.index(NOISE)
    counted = even if is_random is None else is_random.astype(np.float64)
    threshold = _threshold(heads.calibration, probability[:, CLASSES.index(NOISE)], ~is_noise, counted)
    change = _fit(features / spread, before, label, ridge)
    fitted = replace(
        heads,
        network=_with_change(heads, change, spread),
        calibration=replace(heads.calibration, temperature=temperature, noise_threshold=threshold),
        calibrated_on=source,
        evidence=None,
    )
    return Refitted(fitted, probability)


def _threshold(
    before: Calibration, noise: NDArray[np.float64], is_event: NDArray[np.bool_], counted: NDArray[np.float64]
) -> float:
    """Return the threshold that keeps the share of the event frames that the one before kept where it was chosen.

    Events so few that it would have to keep every one, some hundred for a share of 0.99, do not lower it.
    """
    threshold = noise_threshold(noise, is_event, counted, before.keep)
    is_few = counted[is_event].sum() * (1 - before.keep) < 1
    return max(threshold, before.noise_threshold) if is_few else threshold


def _fit(
    features: NDArray[np.float64], before: NDArray[np.float32], label: NDArray[np.int64], ridge: float
) -> NDArray[np.float64]:
    """Return the change of the head, (F + 1, 5), that lowers cross entropy + ridge / 2 times its square most."""
    inputs = np.column_stack([features, np.ones(len(features))])
    target = np.eye(before.shape[1])[label]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change = flat.reshape(inputs.shape[1], -1)
        log_p = log_softmax(before + inputs @ change, axis=1)
        gradient = inputs.T @ (np.exp(log_p) - target) + ridge * change
        return -float((target * log_p).sum()) + 0.5 * ridge * float(flat @ flat), gradient.ravel()

    start = np.zeros(inputs.shape[1] * before.shape[1])
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    change: NDArray[np.float64] = fitted.x.reshape(inputs.shape[1], -1)
    return change


def _moved(
    features: NDArray[np.float64], before: NDArray[np.float32], change: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(before + features @ change[:-1] + change[-1], dtype=np.float64)


def _loss(logits: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    return -float(log_softmax(logits, axis=1)[np.arange(len(label)), label].mean())


def _with_change(heads: TrainedHeads, change: NDArray[np.float64], spread: NDArray[np.float32]) -> HeadsNetwork:
    network = deepcopy(heads.network)
    with torch.no_grad():
        network.class_head.weight.add_(torch.from_numpy((change[:-1] / spread[:, None]).T).float())
        network.class_head.bias.add_(torch.from_numpy(change[-1]).float())
    return network
