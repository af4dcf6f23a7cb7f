"""Compose the configurations that a command line asks for, before Hydra makes folders and runs anything."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from asim_cvae.base.errors import SettingError, did_you_mean

_SEVERAL_JOBS = "hydra.mode=MULTIRUN"


def composed(name: str, conf: Path, overrides: Sequence[str], more: str | None = None) -> DictConfig:
    """Compose the configuration of the command ``name``, with Hydra's own under the key ``hydra``.

    Args:
        name: name of the command.
        conf: folder of the configurations.
        overrides: overrides of one job.
        more: the user's own folder of configurations.

    Raises:
        HydraException: an override cannot be used.
        SettingError: an override can have no effect, or there is no folder ``more``.
    """
    if more is not None and not Path(more).is_dir():
        raise SettingError(f"--config-dir {more}: no such folder")
    searched = [] if more is None else [f"hydra.searchpath=[file://{Path(more).absolute()}]"]
    within_command = GlobalHydra.instance().is_initialized()
    with nullcontext() if within_command else initialize_config_dir(str(conf.absolute()), version_base="1.3"):
        _check_overrides(overrides)
        return compose(name, [*overrides, *searched], return_hydra_config=True)


def composed_jobs(name: str, conf: Path, arguments: Namespace) -> Iterator[DictConfig]:
    """Yield the configuration, without Hydra's own, of each job that a command line asks for.

    Hydra's own is to be had of ``HydraConfig`` until the next one is asked for.

    Args:
        name: name of the command.
        conf: folder of the configurations.
        arguments: what Hydra's parser made of the command line.

    Raises:
        HydraException: an override cannot be used.
        SettingError: an override can have no effect, or there is no folder ``more``.
    """
    mode = RunMode.MULTIRUN if _is_sweep(arguments) else RunMode.RUN
    for overrides in job_overrides(conf, arguments):
        config = composed(name, conf, overrides, arguments.config_dir)
        with open_dict(config):
            config.hydra.mode = mode
            HydraConfig.instance().set_config(config)
            del config["hydra"]
        yield config


def job_overrides(conf: Path, arguments: Namespace) -> list[list[str]]:
    """Return the overrides of each job that a command line asks for, of a sweep as Hydra's own sweeper makes them.

    Args:
        conf: folder of the configurations.
        arguments: what Hydra's parser made of the command line.

    Raises:
        HydraException: an override cannot be read.
    """
    if not _is_sweep(arguments):
        return [arguments.overrides]
    with initialize_config_dir(str(conf.absolute()), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        return BasicSweeper.split_arguments(parser.parse_overrides(list(arguments.overrides)), None)[0]


def _is_sweep(arguments: Namespace) -> bool:
    return arguments.multirun or _SEVERAL_JOBS in arguments.overrides


def _check_overrides(overrides: Sequence[str]) -> None:
    """Raise SettingError on overrides on which Hydra fails with a traceback, or which it takes without any effect."""
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(loader).parse_overrides(list(overrides))
    experiments = [override for override in parsed if override.key_or_group == "experiment"]
    if len(experiments) > 1 or any(isinstance(override.value(), list) for override in experiments):
        raise SettingError("experiment: a run has one; -m +experiment=NAME,NAME trains several, one after the other")
    for override in parsed:
        key, value, line = override.key_or_group, override.value(), override.input_line
        if not key:
            raise SettingError(f"{line}: cannot be read as a setting; its name is missing")
        if override.is_add() and key.startswith("hydra."):
            _check_hydras_own(key.split("."), line)
        is_name = isinstance(value, str | list) or override.is_sweep_override() or override.is_delete()
        choices = [] if is_name or "." in key else loader.get_group_options(key)
        if choices:
            raise SettingError(f"{line}: has to be one of {', '.join(choices)}")


def _check_hydras_own(names: Sequence[str], line: str | None) -> None:
    """Raise SettingError on a new setting of Hydra's where Hydra reads none: its parts that are no plain mappings."""
    part: type | None = HydraConf
    for name in names[1:]:
        if part is None or not is_dataclass(part):
            return
        known = {field.name: field.type for field in fields(part)}
        if name not in known:
            raise SettingError(f"{line}: Hydra has no such setting{did_you_mean(name, known)}")
        part = known[name] if isinstance(known[name], type) else None  # type: ignore[assignment]
