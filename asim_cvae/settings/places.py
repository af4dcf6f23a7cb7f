"""Check which class a configuration names at which place."""

import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from inspect import Parameter
from typing import Any

from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import InputError, SettingError, did_you_mean, shown
from asim_cvae.base.targets import TARGET, resolve_target
from asim_cvae.settings.schema import Section

_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

PLACES = {
    "": "asim_cvae.simulator.archive.Simulation",
    "data": "asim_cvae.data.datamodule.MMIADataModule",
    "data.simulation": "asim_cvae.simulator.archive.Simulation",
    "data.simulation.rule": "asim_cvae.simulator.labelling.LabelRule",
    "data.simulation.rare": "asim_cvae.simulator.scenes.Rare",
    "data.simulation.variation": "asim_cvae.simulator.variation.Variation",
    "engine": "asim_cvae.base.engine.Engine",
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
    "network": "asim_cvae.nn.heads.HeadsNetwork",
    "optimizer": "torch.optim.Optimizer",
    "simulation": "asim_cvae.simulator.archive.Simulation",
    "simulation.rule": "asim_cvae.simulator.labelling.LabelRule",
    "simulation.rare": "asim_cvae.simulator.scenes.Rare",
    "simulation.variation": "asim_cvae.simulator.variation.Variation",
    "natural": "asim_cvae.simulator.archive.Simulation",
    "natural.rule": "asim_cvae.simulator.labelling.LabelRule",
    "natural.rare": "asim_cvae.simulator.scenes.Rare",
    "natural.variation": "asim_cvae.simulator.variation.Variation",
    "trainer": "pytorch_lightning.Trainer",
    "trainer.strategy": "pytorch_lightning.strategies.Strategy",
    "callbacks.*": "pytorch_lightning.Callback",
    "scoring": "asim_cvae.scoring.clusters.ClusteringProtocol",
    "archives.*": "asim_cvae.simulator.archive.Simulation",
    "archives.*.rule": "asim_cvae.simulator.labelling.LabelRule",
    "archives.*.rare": "asim_cvae.simulator.scenes.Rare",
    "archives.*.variation": "asim_cvae.simulator.variation.Variation",
    "filter": "asim_cvae.triaging.gathering.Filter",
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

_OF_ARGUMENTS = ("", "model.network.*", "model.likelihood.*", "trainer.strategy")
"""Places that need not name a class: their values may be any others."""

_PARTIAL = "_partial_"

_HYDRAS = {TARGET, "_args_", "_recursive_", "_convert_", _PARTIAL}
"""Keys of which Hydra makes an object."""

_LATER = ("model.optimizer", "optimizer")
"""Places whose classes are called later, with more arguments: ``_partial_`` is true there."""


GIVEN = {
    "model.optimizer": ("params",),
    "optimizer": ("params",),
    "trainer": ("callbacks", "default_root_dir", "logger", "plugins"),
    "suite": ("folder",),
}
"""Arguments of the class at a place that the program itself gives, so that no setting may."""


def check_targets(config: DictConfig, trust: Collection[str] = (), section: Section | None = None) -> None:
    """Make sure that each class in a configuration is of the kind that its place asks for, before any is made.

    Args:
        config: configuration of a command; it need not be resolved.
        trust: packages that the user trusts beside those of :data:`asim_cvae.base.targets.TRUSTED`.
        section: declared settings of the command. Where they are left to a class, they have to be arguments that its
            constructor takes.

    Raises:
        SettingError: a class lies outside the trusted packages, does not exist, is not of the kind that its place asks
            for, or does not take the arguments that it is given.
    """
    for place, value in _values(_plain(config), ""):
        if isinstance(value, dict) and value.keys() & _HYDRAS:
            cls = _check_target(place, value, trust)
            if section is not None and section.is_open(f"{place}.{TARGET}"):
                _check_arguments(cls, place, value)


def check_places(config: DictConfig) -> None:
    """Make sure that no place lacks its class.

    Args:
        config: configuration of a command; it need not be resolved.

    Raises:
        SettingError: something else stands where a class is needed.
    """
    for place, value in _values(_plain(config), ""):
        pattern = _pattern(place)
        if pattern is None or pattern in _OF_ARGUMENTS or value is None:
            continue
        if not isinstance(value, dict) or TARGET not in value:
            raise SettingError(f"{place}: has to be a class with its arguments; give {place}.{TARGET}=CLASS")
        if pattern in _LATER and not value.get(_PARTIAL):
            raise SettingError(f"{place}.{_PARTIAL}={shown(value.get(_PARTIAL))}: has to be true")


def _check_target(place: str, value: Mapping[str, Any], trust: Collection[str]) -> type:
    """Check what is called at a place, and return it."""
    target, pattern = value.get(TARGET), _pattern(place)
    if pattern is None:
        raise SettingError(f"{place}.{TARGET}={shown(target)}: no class can be named at this place")
    module, _, name = PLACES[pattern].rpartition(".")
    try:
        cls = resolve_target(target, getattr(importlib.import_module(module), name), trust)
    except InputError as error:
        raise SettingError(f"{place}.{error}" if place else str(error)) from error
    can_be_partial = pattern in (*_LATER, *_OF_ARGUMENTS)
    allowed = {
        "_args_": (None,),
        "_recursive_": (None,),
        "_convert_": (None, "none", "partial", "object", "all"),
        _PARTIAL: (None, False, True) if can_be_partial else (None, False),
    }
    for key, values in allowed.items():
        if value.get(key) not in values:
            raise SettingError(f"{place}.{key}={shown(value[key])}: is not allowed at this place")
    return cls


def _check_arguments(cls: type, place: str, settings: Mapping[str, Any]) -> None:
    """Raise SettingError if the constructor of ``cls`` does not take ``settings``, or needs one that they lack."""
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:  # a class of a compiled module need not tell its arguments
        return
    by_program = GIVEN.get(place, ())
    names = [name for name, parameter in parameters.items() if parameter.kind not in _VARIADIC]
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in (name for name in settings if not (name.startswith("_") and name.endswith("_"))):
        if name in by_program:
            raise SettingError(f"{place}.{name}: is given by the program itself, and cannot be set")
        if name not in names and not takes_any:
            near = did_you_mean(name, set(names) - set(by_program))
            raise SettingError(f"{place}.{name}: no such argument of {cls.__name__}{near}")
    if not settings.get("_partial_"):
        for name in names:
            if parameters[name].default is Parameter.empty and name not in {*settings, *by_program}:
                raise SettingError(f"{place}.{name} has to be given: an argument of {cls.__name__}")


def _plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=True)


def _values(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield each place within ``value`` and what stands there, itself first."""
    yield place, value
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    else:
        return
    for name, item in inner:
        yield from _values(item, f"{place}.{name}" if place else name)


def _pattern(place: str) -> str | None:
    """Return the pattern among :data:`PLACES` to which a place belongs."""
    return next((p for p in PLACES if place.count(".") == p.count(".") and fnmatchcase(place, p)), None)
