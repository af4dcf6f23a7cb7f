"""What frames usually look like to a model and to its heads: the reference that tells how odd a new frame is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import logit

from asim_cvae.base.documents import Count, Name, checked, parse_json, read_text, signed, unsigned
from asim_cvae.base.errors import InputError
from asim_cvae.base.files import write_json
from asim_cvae.instrument.classes import KINDS
from asim_cvae.instrument.photometers import PHOTOMETERS

REFERENCE = "reference.json"

_FORMAT = 1
_MOST_BYTES = 32_000_000
_SHARES = np.linspace(0, 0.99, 100)
_RIDGE = 1e-6  # of the mean variance, so that values that never vary have a distance
_SURE = 1e-12  # probabilities nearer to 0 or 1 are as good as that

Array = NDArray[np.float64]
Finite = Annotated[float, Meta(ge=-1e30, le=1e30)]
Row = Annotated[list[Finite], Meta(min_length=1, max_length=10_000)]
Scores = Annotated[list[Finite], Meta(min_length=len(_SHARES), max_length=len(_SHARES))]


@dataclass(frozen=True)
class Tail:
    """How scores are distributed among reference frames.

    Attributes:
        quantiles: scores below which 0, 1, ... 99 % of the frames lie.
        scale: mean excess of the others over the last of these; beyond, shares fall exponentially with it
            (peaks over threshold, Pickands 1975, Ann. Stat. 3:119, of shape 0).
    """

    quantiles: Scores
    scale: Annotated[float, Meta(gt=0, le=1e30)]

    @classmethod
    def of(cls, scores: Array) -> "Tail":
        """Take the distribution of some scores, (N,)."""
        quantiles = np.quantile(scores, _SHARES)
        above = scores[scores > quantiles[-1]] - quantiles[-1]
        return cls(quantiles.tolist(), float(above.mean()) if above.size and above.mean() > 0 else _RIDGE)

    def share_above(self, scores: Array) -> Array:
        """Return the share of reference frames that score as high, (N,)."""
        top = self.quantiles[-1]
        beyond = (1 - _SHARES[-1]) * np.exp(-np.maximum(scores - top, 0) / self.scale)
        return np.where(scores > top, beyond, 1 - np.interp(scores, self.quantiles, _SHARES))


@dataclass(frozen=True)
class Familiarity:
    """How far vectors lie from those of reference frames.

    Attributes:
        mean: (D,) mean of the reference frames' vectors.
        precision: (D, D) inverse of their covariance.
        distance: distribution of their squared Mahalanobis distances.
    """

    mean: Row
    precision: Annotated[list[Row], Meta(min_length=1, max_length=10_000)]
    distance: Tail

    @classmethod
    def of(cls, vectors: Array) -> "Familiarity":
        """Learn what vectors (N, D) are familiar."""
        covariance = np.atleast_2d(np.cov(vectors, rowvar=False, bias=True))
        size = len(covariance)
        precision = np.linalg.inv(covariance + (_RIDGE * np.trace(covariance) / size + _SURE) * np.eye(size))
        mean = vectors.mean(0)
        return cls(mean.tolist(), precision.tolist(), Tail.of(_distance(vectors - mean, precision)))

    def share_as_far(self, vectors: NDArray[np.floating]) -> Array:
        """Return the share of reference frames that are as far from the mean as each vector (N, D)."""
        away = _distance(vectors - np.array(self.mean), np.array(self.precision))
        return self.distance.share_above(away)


def _distance(from_mean: Array, precision: Array) -> Array:
    return np.asarray(np.einsum("ni,ij,nj->n", from_mean, precision, from_mean))


@dataclass(frozen=True)
class OfModel:
    """What frames usually look like to a model.

    Attributes:
        frames: number of reference frames: those that it was trained on, or some of them, evenly spaced.
        familiarity: of their descriptions.
        axes: (2, D) directions in which their descriptions vary most, by which a map shows them.
        misfit: for each photometer, distribution of -log10 of their misfit in it.
    """

    frames: Count
    familiarity: Familiarity
    axes: Annotated[list[Row], Meta(min_length=2, max_length=2)]
    misfit: Annotated[list[Tail], Meta(min_length=len(PHOTOMETERS), max_length=len(PHOTOMETERS))]

    @classmethod
    def of(cls, description: NDArray[np.float32], misfit: Array) -> "OfModel":
        """Learn from the descriptions (N, D) of reference frames, and their misfits in each photometer, (N, 3)."""
        described = description.astype(np.float64)
        axes = _axes(described).tolist()
        return cls(len(described), Familiarity.of(described), axes, [Tail.of(score) for score in _log(misfit).T])

    def share_as_misfit(self, misfit: Array) -> tuple[Array, NDArray[np.int64]]:
        """Compare misfits (N, 3) with those of the reference frames.

        Returns:
            (N,) the share of reference frames that fit as badly in any photometer, and (N,) the photometer that decides
            it, in which the fewest do.
        """
        shares = np.array([tail.share_above(score) for tail, score in zip(self.misfit, _log(misfit).T, strict=True)])
        return np.minimum(len(shares) * shares.min(0), 1.0), shares.argmin(0)

    def on_map(self, description: NDArray[np.float32]) -> Array:
        """Return the place of each description (N, D) on the map, (N, 2)."""
        return np.asarray((description - np.array(self.familiarity.mean)) @ np.array(self.axes).T)


@dataclass(frozen=True)
class OfHeads:
    """What frames usually look like to heads.

    Attributes:
        frames: number of reference frames, at natural prevalence.
        source: where they come from, in words.
        familiarity: of their features.
        kinds: for each kind of event, distribution of the logit of its probability among frames without such an event.
    """

    frames: Count
    source: Name
    familiarity: Familiarity
    kinds: dict[Name, Tail]

    @classmethod
    def of(cls, features: NDArray[np.float32], probability: Array, holds: NDArray[np.bool_], source: str) -> "OfHeads":
        """Learn from reference frames.

        Args:
            features: (N, F) what the heads see of them.
            probability: (N, 5) that they hold each of ``KINDS``.
            holds: (N, 5) whether they do.
            source: where they come from.
        """
        scores = kind_score(probability)
        kinds = {kind: Tail.of(scores[~holds[:, k], k]) for k, kind in enumerate(KINDS)}
        return cls(len(features), source, Familiarity.of(features.astype(np.float64)), kinds)


@dataclass(frozen=True)
class Reference:
    """What frames usually look like to a model, and to the heads beside it; None where nothing is known."""

    model: OfModel | None = None
    heads: OfHeads | None = None


def _log(misfit: Array) -> Array:
    return -np.log10(np.maximum(misfit, 1e-300))


def kind_score(probability: Array) -> Array:
    """Return the logit of probabilities of kinds."""
    return np.asarray(logit(np.clip(probability, _SURE, 1 - _SURE)))


def _axes(vectors: Array) -> Array:
    """Return the two directions in which vectors (N, D) vary most, (2, D), each with its largest part positive."""
    _, _, directions = np.linalg.svd(vectors - vectors.mean(0), full_matrices=True)
    axes = np.zeros((2, vectors.shape[1]))
    axes[: len(directions)] = directions[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return np.where(largest < 0, -axes, axes)


def write_reference(folder: Path, reference: Reference) -> None:
    """Write ``reference.json`` into the folder of a model."""
    write_json(folder / REFERENCE, signed({"format": _FORMAT, **asdict(reference)}))


def read_reference(folder: Path) -> Reference:
    """Read ``reference.json`` in the folder of a model, which anyone may have made; an empty one where there is none.

    Raises:
        InputError: it is damaged.
    """
    path = folder / REFERENCE
    if not path.is_file():
        return Reference()
    try:
        reference = _checked(parse_json(read_text(path, _MOST_BYTES)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return reference


def _checked(content: Mapping[str, Any]) -> Reference:
    if content.get("format") != _FORMAT:
        raise InputError(f"no reference of this version of the program, whose format is {_FORMAT}")
    reference = checked(unsigned(content), Reference)
    if reference.model is not None:
        _check_sizes("model", reference.model.familiarity, *reference.model.axes)
    if reference.heads is not None:
        _check_sizes("heads", reference.heads.familiarity)
        if set(reference.heads.kinds) != set(KINDS):
            raise InputError(f"heads.kinds: have to be {', '.join(KINDS)}")
    return reference


def _check_sizes(name: str, familiarity: Familiarity, *more: Row) -> None:
    size = len(familiarity.mean)
    if any(len(row) != size for row in (*familiarity.precision, *more)) or len(familiarity.precision) != size:
        raise InputError(f"{name}: its rows differ in length")
