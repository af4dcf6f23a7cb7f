"""Compare weights that were read with those that a network would have, before it is made."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from asim_cvae.base.errors import InputError, first_line

MOST_BYTES = 2**31
"""Largest size of a file of weights, and of the weights of a network; the thesis's have 4 MB."""

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""Types of weights that a network takes from a training in lower precision."""

Weights = Mapping[str, Tensor]


def sketched(make: Callable[[], nn.Module]) -> Weights:
    """Return a network's weights without their memory: names, types and shapes.

    Args:
        make: makes the network; its constructor is run on torch's meta device.

    Raises:
        InputError: it cannot be made there, or its weights would be larger than :data:`MOST_BYTES`.
    """
    try:
        with torch.device("meta"):
            sketch: Weights = make().state_dict()
    except InputError:
        raise
    except Exception as error:  # the user's own network can raise errors of any type
        raise InputError(
            f"the network cannot be made on torch's meta device, where its size is looked at ({first_line(error)})"
        ) from error
    size = size_of(sketch)
    if size > MOST_BYTES:
        raise InputError(f"its weights would take {size:,} bytes, more than {MOST_BYTES:,}; choose a smaller network")
    return sketch


def size_of(weights: Weights) -> int:
    """Return the bytes that weights take."""
    return sum(value.numel() * value.element_size() for value in weights.values())


def check_weights(weights: Mapping[str, Any], sketch: Weights) -> None:
    """Make sure that weights are those of a network: of the same names, shapes and types.

    Args:
        weights: what was read.
        sketch: the result of :func:`sketched`.

    Raises:
        InputError: they are not; the first that differs is named.
    """
    for name, wanted in sketch.items():
        if name not in weights:
            raise InputError(f"{name} is missing among its weights")
        _check_one(name, weights[name], wanted)
    extra = [name for name in weights if name not in sketch]
    if extra:
        raise InputError(f"{extra[0]} is no weight of its network")


def _check_one(name: str, value: Any, wanted: Tensor) -> None:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        raise InputError(f"{name} is no array")
    if value.shape != wanted.shape:
        raise InputError(f"{name} has shape {tuple(value.shape)}, while its network's has {tuple(wanted.shape)}")
    if value.dtype != wanted.dtype and not (value.dtype in _FLOATS and wanted.dtype in _FLOATS):
        raise InputError(f"{name} is of {value.dtype}, while its network's is of {wanted.dtype}")
