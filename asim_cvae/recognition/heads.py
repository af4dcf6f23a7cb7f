"""Trained heads: what they tell of frames, and the two files in which they travel with a model."""

import copy
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from asim_cvae.base.documents import Count, Name, checked, parse_json, read_bounded, read_text, signed, unsigned
from asim_cvae.base.errors import InputError, SettingError, first_line
from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.targets import TARGET, build_target, target_of
from asim_cvae.frames.representation import Representation
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.nn.heads import HeadsNetwork, Recognized
from asim_cvae.recognition.calibration import Calibration
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.promise import Evidence
from asim_cvae.recognition.training import logits
from asim_cvae.runs.description import WeightsOfExport
from asim_cvae.runs.weights import check_weights, size_of, sketched
from asim_cvae.settings.schema import check_config, declared_settings

WEIGHTS = "heads.safetensors"
DESCRIPTION = "heads.json"

_FORMAT = 1
_MOST_DESCRIPTION = 1_000_000  # bytes of heads.json, which takes 2,000, and 30 for each unit of evidence
_MOST_HEADER = 1_000_000  # bytes of heads.safetensors before its weights


@dataclass(frozen=True)
class HeadsDescription:
    """All that a ``heads.json`` holds.

    Attributes:
        network: class and arguments of the network.
        representation: the same of what it takes.
        calibration: how its logits become probabilities.
        trained_on: frames from which classes and kinds were learnt.
        calibrated_on: frames to which classes and calibration were fitted again; None if none were.
        seed: of the training.
        epochs: of the training.
        weights: the file of weights that it belongs to.
        evidence: what promises can be made of; None for none.
    """

    network: dict[Name, Any]
    representation: dict[Name, Any]
    calibration: Calibration
    trained_on: LabelledBy
    calibrated_on: LabelledBy | None
    seed: Count
    epochs: Count
    weights: WeightsOfExport
    evidence: Evidence | None = None


class Recognition(NamedTuple):
    """What heads tell of N frames."""

    classes: NDArray[np.float64]
    """Probability of each of ``CLASSES``, (N, 5)."""
    kinds: NDArray[np.float64]
    """Probability of each of ``KINDS``, (N, 5)."""
    is_noise: NDArray[np.bool_]
    """Whether the frame is dropped as noise, (N,)."""
    features: NDArray[np.float32]
    """What the heads see, (N, F)."""


@dataclass(frozen=True)
class TrainedHeads:
    """Heads that were trained.

    Attributes:
        network: the network with its weights, in eval mode.
        representation: of its input.
        calibration: how its logits become probabilities.
        trained_on: frames from which classes and kinds were learnt.
        calibrated_on: frames to which classes and calibration were fitted again; None if none were.
        seed: of the training.
        epochs: of the training.
        evidence: what promises can be made of; None for none.
    """

    network: HeadsNetwork
    representation: Representation
    calibration: Calibration
    trained_on: LabelledBy
    calibrated_on: LabelledBy | None
    seed: int
    epochs: int
    evidence: Evidence | None = None

    def recognize(self, flux: NDArray[np.float32]) -> Recognition:
        """Recognise frames of flux (N, 3, 5000) in uW/m^2."""
        return self.recognize_values(self.representation.apply(flux))

    def recognize_values(self, values: NDArray[Any]) -> Recognition:
        """Recognise frames that are represented already, (N, C, T)."""
        features, classes, kinds = logits(self.network, values)
        probability = self.calibration.class_probability(classes)
        is_noise = probability[:, -1] > self.calibration.noise_threshold
        return Recognition(probability, self.calibration.kind_probability(kinds), is_noise, features)

    def promised_threshold(self, keep_recall: float, confidence: float) -> float:
        """Return the probability of noise above which frames can be dropped; see :meth:`Evidence.threshold`.

        Raises:
            SettingError: there is no evidence, or it does not support the promise.
        """
        if self.evidence is None:
            raise SettingError(
                f"keep_recall={keep_recall:g}: no labelled observations stand behind these heads, so that nothing can "
                "be promised of them; python -m asim_cvae.calibrate makes heads of which it can"
            )
        return self.evidence.threshold(keep_recall, confidence)


def check_network(network: HeadsNetwork, representation: Representation) -> None:
    """Try heads on two dark frames.

    Raises:
        InputError: they fail, or do not tell each class and kind of each frame.
    """
    name, frames = type(network).__name__, torch.zeros(2, *representation.shape)
    try:
        with torch.inference_mode():
            told = Recognized(*copy.deepcopy(network).eval()(frames))
        shapes = [tuple(part.shape) for part in told]
    except Exception as error:  # the user's own network can raise errors of any type
        raise InputError(f"{name}: fails on two frames ({first_line(error)})") from error
    if len(shapes[0]) != 2 or shapes[1:] != [(2, len(CLASSES)), (2, len(KINDS))]:
        raise InputError(
            f"{name}: has to return features (2, F), classes (2, {len(CLASSES)}) and kinds (2, {len(KINDS)}) of two "
            f"frames, not {', '.join(map(str, shapes))}"
        )


def write_heads(folder: Path, heads: TrainedHeads) -> None:
    """Write ``heads.safetensors`` and ``heads.json`` into ``folder``."""
    weights = save({name: value.contiguous().cpu() for name, value in heads.network.state_dict().items()})
    with atomic_write(folder / WEIGHTS) as partial:
        partial.write_bytes(weights)
    content = {
        "format": _FORMAT,
        "network": {TARGET: target_of(heads.network), **heads.network.settings},
        "representation": {TARGET: target_of(heads.representation), **heads.representation.settings},
        "calibration": asdict(heads.calibration),
        "trained_on": asdict(heads.trained_on),
        "calibrated_on": None if heads.calibrated_on is None else asdict(heads.calibrated_on),
        "seed": heads.seed,
        "epochs": heads.epochs,
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
        "evidence": None if heads.evidence is None else asdict(heads.evidence),
    }
    write_json(folder / DESCRIPTION, signed(content))


def has_heads(folder: Path) -> bool:
    """Tell whether a folder holds trained heads."""
    return (folder / DESCRIPTION).is_file()


def read_heads(folder: Path, trust: Collection[str] = ()) -> TrainedHeads:
    """Read the heads in ``folder``, which anyone may have made.

    Args:
        folder: run folder.
        trust: packages, beside this one, whose classes the files may name.

    Raises:
        InputError: there are none, they are damaged, or they name a class that is not trusted.
    """
    path = folder / DESCRIPTION
    try:
        description = _described(parse_json(read_text(path, _MOST_DESCRIPTION)))
        network = _network(description, trust)
        representation = build_target(description.representation, Representation, trust)  # type: ignore[type-abstract]
        if representation.shape[0] != 6:
            raise InputError(f"representation: gives {representation.shape[0]} rows, where heads take 6")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    _load_weights(folder / WEIGHTS, network, description)
    return TrainedHeads(
        network.eval(),
        representation,
        description.calibration,
        description.trained_on,
        description.calibrated_on,
        description.seed,
        description.epochs,
        description.evidence,
    )


def _described(content: Mapping[str, Any]) -> HeadsDescription:
    if content.get("format") != _FORMAT:
        raise InputError(f"no heads of this version of the program, whose format is {_FORMAT}")
    description = checked(unsigned(content), HeadsDescription)
    for name in ("network", "representation"):
        check_config(declared_settings()["heads"].section(name), getattr(description, name), f"{name}.")
    return description


def _network(description: HeadsDescription, trust: Collection[str]) -> HeadsNetwork:
    sketched(lambda: build_target(description.network, HeadsNetwork, trust))
    return build_target(description.network, HeadsNetwork, trust)


def _load_weights(path: Path, network: HeadsNetwork, description: HeadsDescription) -> None:
    wanted = network.state_dict()
    content = read_bounded(path, size_of(wanted) + _MOST_HEADER)
    if hashlib.sha256(content).hexdigest() != description.weights.sha256:
        raise InputError(f"{path}: damaged or of other heads: its SHA-256 is not that in {DESCRIPTION}")
    try:
        weights = load(content)
        check_weights(weights, wanted)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # safetensors raises errors of many types
        raise InputError(f"{path}: no weights in the format safetensors ({first_line(error)})") from error
    network.load_state_dict(weights)
