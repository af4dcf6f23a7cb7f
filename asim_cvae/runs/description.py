"""Declare what describes a model beside its weights, in ``model.json`` and in checkpoints, and check it on reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from asim_cvae.base.documents import Count, Name, checked, unsigned
from asim_cvae.base.errors import InputError, shown
from asim_cvae.settings.schema import check_config, declared_settings

FORMAT = 4
"""Version of the description."""

_PARTS = {"network": "model.network", "likelihood": "model.likelihood", "representation": "representation"}
_MOST_LONG = 1000  # characters of a text among the arguments of a class


@dataclass(frozen=True)
class RunInfo:
    """What is known of a model's training; None where it is not."""

    experiment: Name
    seed: Count | None
    epochs: Count | None
    restarts: Count


@dataclass(frozen=True)
class Description:
    """All of a model but its weights.

    Attributes:
        network: class and arguments of the network, by which it is made again.
        likelihood: the same of the likelihood.
        representation: the same of the representation of the network's input.
        run_info: what is known of the training.
    """

    network: dict[Name, Any]
    likelihood: dict[Name, Any]
    representation: dict[Name, Any]
    run_info: RunInfo


@dataclass(frozen=True)
class WeightsOfExport:
    """The file of weights beside ``model.json``, by its SHA-256 in hexadecimal digits."""

    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


@dataclass(frozen=True)
class ExportDescription(Description):
    """All that a ``model.json`` may hold.

    Attributes:
        weights: the file of weights that it belongs to.
        clusters: clusters that were fitted after the training, see :class:`asim_cvae.scoring.clusters.SavedClusters`.
    """

    weights: WeightsOfExport
    clusters: dict[Name, Any] | None


def read_description(content: Mapping[str, Any]) -> Description:
    """Check the description of a model in a checkpoint.

    Args:
        content: plain values, which anyone may have made.

    Raises:
        InputError: a value is missing, or has another type or range than its setting.
    """
    _check_format(content)
    description = checked(content, Description)
    _check_parts(description)
    return description


def read_export_description(content: Mapping[str, Any]) -> ExportDescription:
    """Check the content of a ``model.json``, as :func:`read_description` does, and its digest.

    Raises:
        InputError: as :func:`read_description`, or the digest is another.
    """
    _check_format(content)
    try:
        rest = unsigned(content)
    except InputError as error:
        raise InputError(f"{error}; copy the export again") from error
    description = checked(rest, ExportDescription)
    _check_parts(description)
    return description


def _check_format(content: Mapping[str, Any]) -> None:
    if content.get("format") != FORMAT:
        raise InputError(
            f"no model of this program, or one of another version: format {shown(content.get('format'), 20)}, "
            f"not {FORMAT}; the version that wrote it reads it"
        )


def _check_parts(description: Description) -> None:
    """Raise InputError if an argument of a class is not what the setting of its name may be."""
    for name, place in _PARTS.items():
        part: dict[str, Any] = getattr(description, name)
        for key, value in part.items():
            if isinstance(value, str) and len(value) > _MOST_LONG:
                raise InputError(f"{name}.{key}: a text of more than {_MOST_LONG} characters")
        check_config(declared_settings()["train"].section(place), part, f"{name}.")
