"""Check that a model keeps its contract and can be exported, before a long training begins."""

import copy
import json
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from asim_cvae.base.errors import InputError, first_line
from asim_cvae.base.targets import build_target
from asim_cvae.frames.representation import Representation
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.contract import Inferred, Likelihood, Network, Posterior
from asim_cvae.runs.export import describe_model
from asim_cvae.runs.weights import sketched
from asim_cvae.scoring.clusters import Clustering, ClusteringProtocol

_FRAMES = 2


def check_model(module: CVAEModule, representation: Representation, trust: Collection[str] = ()) -> None:
    """Try a model on two dark frames, and make it again from its settings as an export would.

    Args:
        module: the network and its likelihood.
        representation: representation of the network's input.
        trust: packages, beside this one, whose classes an export may name.

    Raises:
        InputError: the model breaks a part of the contract in :mod:`asim_cvae.nn.contract`, or cannot be exported.
    """
    _check_export(module, representation, trust)
    trial = copy.deepcopy(module).eval()
    x = _represented(representation)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        posterior = _tried("encode", module.network, lambda: trial.encode(x))
        _check_posterior(posterior, module.network)
        parameters = _tried("decode", module.network, lambda: tuple(trial.network.decode(posterior.sample())))
        _check_likelihood(_likelihood_of(trial, parameters), x, module)
        _check_description("describe", _tried("describe", module.network, lambda: trial.describe(x)), module.network)
        inferred = _tried("infer", module.network, lambda: Inferred(*trial.infer(x)))
        _check_posterior(inferred.posterior, module.network)
        _check_likelihood(inferred.p_x, x, module)
        _check_description("infer", inferred.description, module.network)
        for augmentation in trial.augmentations:
            changed = _tried("__call__", augmentation, lambda: augmentation(x))  # noqa: B023  called at once
            if not isinstance(changed, Tensor) or changed.shape != x.shape:
                raise InputError(f"{_name(augmentation)}: has to return frames {_shape(x)}, not {_shape(changed)}")


def check_protocol(protocol: ClusteringProtocol) -> None:
    """Try a way of clustering on a few vectors.

    Raises:
        InputError: it fails, or returns no clusters of them.
    """
    vectors = np.random.default_rng(0).normal(size=(12, 3))
    found = _tried("cluster", protocol, lambda: protocol.cluster(vectors), "twelve vectors")
    if not isinstance(found, Clustering) or np.shape(found.assignment) != (12,):
        raise InputError(f"{_name(protocol)}.cluster: has to return a Clustering of the vectors, not {_shape(found)}")


def _represented(representation: Representation) -> Tensor:
    """Represent two dark frames, and make sure that the representation keeps its word of them."""
    x = _tried("apply", representation, lambda: representation.apply(_dark_frames()))
    wanted = (_FRAMES, *representation.shape)
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.shape != wanted:
        given = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise InputError(f"{_name(representation)}: has to give float32 {wanted}, as its shape says, not {given}")
    back = _tried("invert", representation, lambda: representation.invert(x))
    if np.shape(back) != _dark_frames().shape:
        raise InputError(
            f"{_name(representation)}: its inverse has to give flux {_dark_frames().shape}, not {np.shape(back)}"
        )
    return torch.from_numpy(x)


def _likelihood_of(trial: CVAEModule, parameters: tuple[Any, ...]) -> Any:
    try:
        return trial.likelihood(*parameters)
    except Exception as error:  # the user's own likelihood can raise errors of any type
        raise InputError(
            f"{_name(trial.likelihood)}: does not take the {len(parameters)} parameters that {_name(trial.network)} "
            f"decodes ({first_line(error)})"
        ) from error


def _check_export(module: CVAEModule, representation: Representation, trust: Collection[str]) -> None:
    """Make network and likelihood again from their settings, and compare the shapes of their weights."""
    description = describe_model(module, representation, {})
    for name, part in (("network", module.network), ("likelihood", module.likelihood)):
        kind = Network if name == "network" else Likelihood
        try:
            settings = json.loads(json.dumps(description[name], allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"{_name(part)}: its settings have to be plain values for an export ({error})") from error
        try:
            sketch = sketched(lambda: build_target(settings, kind, trust))  # noqa: B023  called at once
        except InputError as error:
            reason = str(error).removeprefix(f"{_name(part)}: ")
            raise InputError(
                f"{_name(part)}: cannot be made again from its settings ({reason}); hand all arguments of the "
                "constructor to super().__init__(name=value, ...), and read no values of tensors in it"
            ) from error
        shapes, copied_shapes = ({k: v.shape for k, v in weights.items()} for weights in (part.state_dict(), sketch))
        if shapes != copied_shapes:
            differing = sorted(shapes.items() ^ copied_shapes.items())[0][0]
            raise InputError(
                f"{_name(part)}: made again from its settings it has other weights ({differing}); "
                "hand all arguments of the constructor to super().__init__(name=value, ...)"
            )


def _check_posterior(posterior: object, network: Network) -> None:
    if not isinstance(posterior, Posterior):
        raise InputError(f"{_name(network)}.encode: has to return a Posterior, not {type(posterior).__name__}")
    mu, log_sigma, kl = posterior
    if mu.shape != log_sigma.shape or mu.ndim < 2 or len(mu) != _FRAMES or kl.shape != (_FRAMES,):
        raise InputError(
            f"{_name(network)}.encode: has to return mu and log_sigma (B, ...) and kl (B,) for frames (B, 3, T), "
            f"not {_shape(mu)}, {_shape(log_sigma)} and {_shape(kl)} for {_FRAMES} frames"
        )


def _check_description(method: str, description: object, network: Network) -> None:
    if not isinstance(description, Tensor) or description.ndim != 2 or len(description) != _FRAMES:
        raise InputError(f"{_name(network)}.{method}: has to return (B, D), not {_shape(description)}")


def _check_likelihood(p_x: object, x: Tensor, module: CVAEModule) -> None:
    name = _name(module.likelihood)
    if not isinstance(p_x, Distribution):
        raise InputError(f"{name}: has to return a torch.distributions.Distribution, not {type(p_x).__name__}")
    mean = _tried("mean", module.likelihood, lambda: p_x.mean)
    if mean.shape != x.shape:
        raise InputError(
            f"{_name(module.network)}: decodes frames of shape {_shape(x)} to {_shape(mean)}; "
            "choose a representation with the network's number of steps"
        )
    log_px = _tried("log_prob", module.likelihood, lambda: p_x.log_prob(x))
    if log_px.shape != x.shape:
        raise InputError(f"{name}: log_prob of frames {_shape(x)} has to have their shape, not {_shape(log_px)}")
    if not log_px.isfinite().any():
        raise InputError(
            f"{name}: log_prob of dark frames is not finite; choose a representation whose values are in its support"
        )


def _tried(method: str, part: object, work: Callable[[], Any], what: str = "two frames") -> Any:
    """Return the result of ``work``, which calls a method of a part of the model; raise InputError if it fails."""
    try:
        return work()
    except Exception as error:  # the user's own class can raise errors of any type
        raise InputError(f"{_name(part)}: {method} fails on {what} ({first_line(error)})") from error


def _dark_frames() -> NDArray[np.float32]:
    return np.zeros((_FRAMES, len(PHOTOMETERS), FRAME_SAMPLES), dtype=np.float32)


def _name(part: object) -> str:
    return type(part).__name__


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor | np.ndarray) else type(value).__name__
