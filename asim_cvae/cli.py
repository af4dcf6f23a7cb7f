"""Give the commands what they share: Hydra's entry point, the check of all settings, and errors in one line."""

import argparse
import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.base.errors import InputError, SettingError, first_line
from asim_cvae.runs.sweeps import swept_settings
from asim_cvae.settings.composing import composed_jobs, job_overrides
from asim_cvae.settings.mistakes import explain
from asim_cvae.settings.pages import help_text
from asim_cvae.settings.places import check_targets
from asim_cvae.settings.schema import CONF, check_config, declared_settings


def plain_config(config: DictConfig) -> dict[str, Any]:
    """Return a resolved configuration as plain values; those that have to be given and are not stay '???'."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


OmegaConf.register_new_resolver("first", lambda *values: next((v for v in values if v is not None), None))
OmegaConf.register_new_resolver("unless", lambda condition, value: value if condition is None else None)
OmegaConf.register_new_resolver("swept", swept_settings)

log = logging.getLogger(__name__)

_MISTAKES = (SettingError, HydraException, OmegaConfBaseException, yaml.YAMLError)
"""Errors in what the user typed, which end a command with exit status 2."""

_INPUT_ERRORS = (InputError, OSError, *_MISTAKES)
"""Errors that the user can mend; those that are no mistakes in settings end a command with exit status 1."""

_HARMLESS_WARNINGS = (
    ".*does not have many workers.*",  # frames come from memory, so none are needed
    ".*logs directory .* is not empty.*",  # Hydra writes into it first
    ".*LeafSpec.*",  # Lightning uses a deprecated part of torch
    ".*dataloader is not resumable.*",  # its sampler is, EpochShuffle
    ".*Grad strides do not match.*",  # it concerns only weights of a few values
)
"""Patterns of warnings that are not shown."""


def command(
    name: str, check: Callable[[DictConfig], None] = lambda config: None
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn a function of a configuration into the command ``name``, which reads ``conf/NAME.yaml``.

    Before Hydra makes a folder, all settings of all jobs are checked. A setting that cannot be used ends the command
    with one line and exit status 2. If the function then raises an :class:`InputError` or an error of the operating
    system (no space, no permission), the command prints one line and ends with exit status 1. Any other error is a
    fault of the program and shows its traceback.

    Args:
        name: the command's name.
        check: makes sure, beyond the declarations of ``conf/settings.yaml``, that settings can be used, and raises an
            InputError if they cannot. It writes nothing.
    """

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def check_job(config: DictConfig) -> None:
            section = declared_settings()[name]
            check_config(section, plain_config(config))
            check_targets(config, config.get("trust", ()), section)
            check(config)

        @functools.wraps(task)
        def job(config: DictConfig) -> None:
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                with _errors_as_lines(name):  # here, as Hydra adds a line to errors that reach it
                    task(config)
                return
            try:
                check_job(config)  # once more, as a sweeper of the user's own chooses values on its way
                task(config)
            except Exception as error:  # Hydra goes on with the sweep, and raises the error at its end
                cause = _cause(error)
                log.error("%s failed: %s", HydraConfig.get().runtime.output_dir, cause)
                if cause is not error:
                    raise cause from None
                raise

        def entry() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises errors instead of printing them
            keep_large_blocks()
            for message in _HARMLESS_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            arguments = _parsed_arguments(name)
            with _errors_as_lines(name, checking=True):
                if arguments.help:  # Hydra's own help lists the groups of all commands, and is slow
                    if hasattr(signal, "SIGPIPE"):
                        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly where only the head is read
                    overrides = job_overrides(CONF, arguments)[0]  # a sweep's first job has a value for each setting
                    print(help_text(name, declared_settings()[name], CONF, overrides, arguments.config_dir))
                    return
                if not _only_shows(arguments):
                    for config in composed_jobs(arguments.config_name or name, _config_folder(arguments), arguments):
                        check_job(config)
            with _errors_as_lines(name):
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()

        return entry

    return decorate


def _parsed_arguments(name: str) -> argparse.Namespace:
    """Read the command line by Hydra's parser; flags that are not allowed end the program with one line."""
    parser = get_args_parser()
    parser.prog, parser.usage = name, argparse.SUPPRESS
    parser.allow_abbrev = False  # --experiment would be --experimental-rerun
    arguments = parser.parse_args()
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{mode}" for mode in modes if getattr(arguments, mode)]
    if len(given) > 1:
        parser.error(f"{' and '.join(given)} cannot be given together")
    if arguments.experimental_rerun:
        parser.error(
            "--experimental-rerun: reads a pickle, which this program never does; resume=RUN goes on with a run"
        )
    if arguments.resolve and not arguments.cfg:
        parser.error("--resolve goes with --cfg")
    return arguments


def _only_shows(arguments: argparse.Namespace) -> bool:
    """Tell whether flags ask Hydra for information alone, and nothing runs."""
    return bool(arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion)


def _config_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of the configurations, which ``--config-path`` gives relative to this file's."""
    return CONF if arguments.config_path is None else Path(__file__).parent / arguments.config_path


def _cause(error: Exception) -> Exception:
    """Return the input error that made an instantiation fail, or else the error itself.

    A sweep's worker processes hand errors over without their causes.
    """
    cause = error.__cause__
    return cause if isinstance(error, InstantiationException) and isinstance(cause, _INPUT_ERRORS) else error


def _refused(error: InstantiationException) -> SettingError:
    """Say in one line that a class refuses its settings."""
    _, _, place = str(error).partition("full_key: ")
    reason = first_line(error.__cause__ or error)
    return SettingError(f"{place}: {reason}" if place else reason)


@contextmanager
def _errors_as_lines(name: str, checking: bool = False) -> Iterator[None]:
    """End the program with one line on an input error; while settings are checked, a class may refuse its settings."""
    try:
        yield
    except _INPUT_ERRORS as error:
        if isinstance(error, InstantiationException) and checking:
            error = _refused(error)
        cause = _cause(error)
        if isinstance(cause, InstantiationException):
            raise
        print(f"{name}: {explain(cause, declared_settings()[name])}", file=sys.stderr)
        sys.exit(2 if isinstance(cause, _MISTAKES) else 1)
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells report it
