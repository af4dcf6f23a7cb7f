"""Check which class a configuration names at which place."""

import importlib
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import InputError
from asim_cvae.base.targets import TARGET, resolve_target

PLACES = {
    "": "asim_cvae.simulator.archive.Simulation",
    "data": "asim_cvae.data.datamodule.MMIADataModule",
    "data.simulation": "asim_cvae.simulator.archive.Simulation",
    "data.simulation.rule": "asim_cvae.simulator.labelling.LabelRule",
    "data.simulation.rare": "asim_cvae.simulator.scenes.Rare",
    "data.simulation.variation": "asim_cvae.simulator.variation.Variation",
    "representation": "asim_cvae.frames.representation.Representation",
    "model": "asim_cvae.model.module.CVAEModule",
    "model.network": "asim_cvae.nn.contract.Network",
    "model.network.*": "torch.nn.Module",
    "model.likelihood": "asim_cvae.nn.contract.Likelihood",
    "model.likelihood.*": "torch.nn.Module",
    "model.optimizer": "torch.optim.Optimizer",
    "model.beta": "asim_cvae.model.schedules.Schedule",
    "model.learning_rate": "asim_cvae.model.schedules.Schedule",
    "model.augmentations.*": "asim_cvae.model.augmentations.Augmentation",
    "trainer": "pytorch_lightning.Trainer",
    "trainer.strategy": "pytorch_lightning.strategies.Strategy",
    "callbacks.*": "pytorch_lightning.Callback",
    "scoring": "asim_cvae.scoring.clusters.ClusteringProtocol",
    "rule": "asim_cvae.simulator.labelling.LabelRule",
    "rare": "asim_cvae.simulator.scenes.Rare",
    "variation": "asim_cvae.simulator.variation.Variation",
    "suite": "asim_cvae.studies.speed.suite.Suite",
    "suite.archive": "asim_cvae.simulator.archive.Simulation",
    "suite.archive.rule": "asim_cvae.simulator.labelling.LabelRule",
    "suite.archive.rare": "asim_cvae.simulator.scenes.Rare",
    "suite.archive.variation": "asim_cvae.simulator.variation.Variation",
    "suite.growth": "asim_cvae.studies.speed.parts.Growth",
}
"""Base class of the classes that each place may name. '' is the top of a configuration, ``*`` any name or index."""


def check_targets(config: DictConfig, trust: Collection[str] = ()) -> None:
    """Make sure that each class in a configuration is of the kind that its place asks for, before any is made.

    Args:
        config: configuration of a command; it need not be resolved.
        trust: packages that the user trusts beside those of :data:`asim_cvae.base.targets.TRUSTED`.

    Raises:
        InputError: a class lies outside the trusted packages, does not exist, or is not of the kind that its place
            asks for.
    """
    for place, target in _targets(OmegaConf.to_container(config, resolve=True), ""):
        base = next((kind for pattern, kind in PLACES.items() if _matches(place, pattern)), None)
        if base is None:
            raise InputError(f"{place}.{TARGET}={target}: no class can be named at this place")
        module, _, name = base.rpartition(".")
        try:
            resolve_target(target, getattr(importlib.import_module(module), name), trust)
        except InputError as error:
            raise InputError(f"{place}.{error}") from error


def _targets(value: Any, place: str) -> Iterator[tuple[str, object]]:
    """Yield each place within ``value`` that names a class, and the name."""
    if isinstance(value, dict):
        if TARGET in value:
            yield place, value[TARGET]
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    else:
        return
    for name, item in inner:
        yield from _targets(item, f"{place}.{name}" if place else name)


def _matches(place: str, pattern: str) -> bool:
    return place.count(".") == pattern.count(".") and fnmatchcase(place, pattern)
