"""Make activation layers from the names that configurations use."""

from torch import nn

from asim_cvae.base.errors import InputError

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


def activation(name: str) -> nn.Module:
    """Make a ReLU layer, or a LeakyReLU layer with torch's default slope of 0.01.

    Raises:
        InputError: ``name`` is neither 'relu' nor 'leaky_relu'.
    """
    if name not in _ACTIVATIONS:
        raise InputError(f"unknown activation '{name}'; choose one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]()


def negative_slope(layer: nn.Module) -> float:
    """Return the slope of such a layer below 0."""
    return float(getattr(layer, "negative_slope", 0.0))
