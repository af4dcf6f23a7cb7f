"""Networks and distributions as plain torch modules."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from asim_cvae.nn.likelihood import BetaLikelihood
from asim_cvae.nn.network import ThesisNetwork

__all__ = ["BetaLikelihood", "ThesisNetwork", "build_network", "network_settings"]

_NETWORKS = {network.__name__: network for network in (ThesisNetwork,)}


def network_settings(network: nn.Module) -> dict[str, Any]:
    """Plain values from which :func:`build_network` makes the network again, without its weights."""
    return {"name": type(network).__name__, **network.settings}  # type: ignore[dict-item]


def build_network(settings: Mapping[str, Any]) -> nn.Module:
    """The network that :func:`network_settings` described; only networks of this package are made.

    Raises:
        ValueError: there is no such network.
    """
    values = dict(settings)
    name = values.pop("name", None)
    if name not in _NETWORKS:
        raise ValueError(f"unknown network {name!r}, not one of {', '.join(_NETWORKS)}")
    return _NETWORKS[name](**values)
