"""Give the commands what they share: Hydra's entry point, errors in one line, the archive and the data module."""

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.base.errors import InputError, first_line
from asim_cvae.runs.sweeps import swept_settings
from asim_cvae.settings.mistakes import explain
from asim_cvae.settings.pages import help_text
from asim_cvae.settings.places import check_targets
from asim_cvae.settings.schema import CONF, check_config, declared_settings

OUTPUTS = Path("outputs")
"""Folder into which commands write by default."""


def plain_config(config: DictConfig) -> dict[str, Any]:
    """Return a resolved configuration as plain values; those that have to be given and are not stay '???'."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


OmegaConf.register_new_resolver("first", lambda *values: next((v for v in values if v is not None), None))
OmegaConf.register_new_resolver("unless", lambda condition, value: value if condition is None else None)
OmegaConf.register_new_resolver("swept", swept_settings)

log = logging.getLogger(__name__)

_INPUT_ERRORS = (InputError, OSError, HydraException, OmegaConfBaseException)
"""Errors that the user can mend."""

_HARMLESS_WARNINGS = (
    ".*does not have many workers.*",  # frames come from memory, so none are needed
    ".*logs directory .* is not empty.*",  # Hydra writes into it first
    ".*LeafSpec.*",  # Lightning uses a deprecated part of torch
    ".*dataloader is not resumable.*",  # its sampler is, EpochShuffle
    ".*Grad strides do not match.*",  # it concerns only weights of a few values
)
"""Patterns of warnings that are not shown."""


def command(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn a function of a configuration into the command ``name``, which reads ``conf/NAME.yaml``.

    If the function raises an :class:`InputError`, an error of the operating system (no space, no permission) or one of
    the configuration, the command prints one line and ends with exit status 1. Any other error is a fault of the
    program and shows its traceback.
    """

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def checked(config: DictConfig) -> None:
            check_config(declared_settings()[name], plain_config(config))
            check_targets(config, config.get("trust", ()))
            task(config)

        @functools.wraps(task)
        def job(config: DictConfig) -> None:
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                with _errors_as_lines(name):
                    checked(config)
                return
            try:
                checked(config)
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
            with _errors_as_lines(name):
                arguments = get_args_parser().parse_args()
                if arguments.help:  # Hydra's own help lists the groups of all commands, and is slow
                    print(help_text(name, declared_settings()[name], CONF, arguments.overrides, arguments.config_dir))
                    return
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()

        return entry

    return decorate


def _cause(error: Exception) -> Exception:
    """Return the input error that made an instantiation fail, or else the error itself.

    A sweep's worker processes hand errors over without their causes.
    """
    cause = error.__cause__
    if not isinstance(error, InstantiationException) or cause is None:
        return error
    place = str(error).rpartition("full_key: ")[2]
    # Lightning's Trainer checks its arguments itself.
    if place == "trainer" or (isinstance(cause, TypeError) and "unexpected keyword argument" in str(cause)):
        return InputError(f"{place}: {first_line(cause)}")
    return cause if isinstance(cause, _INPUT_ERRORS) else error


@contextmanager
def _errors_as_lines(name: str) -> Iterator[None]:
    """End the program with one line on an input error."""
    try:
        yield
    except _INPUT_ERRORS as error:
        cause = _cause(error)
        if not isinstance(cause, _INPUT_ERRORS) or isinstance(cause, InstantiationException):
            raise
        sys.exit(f"{name}: {explain(cause, declared_settings()[name])}")
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells report it


def provide_archive(data: DictConfig) -> None:
    """Make the simulated archive that the group ``data`` describes, if it is missing or unfinished.

    Only folders below ``outputs/`` are made; any other has to exist. Nothing is done if the data are not simulated.

    Raises:
        InputError: the folder is not below ``outputs/`` and does not exist, or it holds something else.
    """
    if data.simulation is None or data.root is None:
        return
    from asim_cvae.simulator.archive import make_archive  # scipy takes a second to import

    root = Path(data.root).expanduser()
    log.info("data are simulated, in %s", root)
    if OUTPUTS.resolve() in root.resolve().parents:
        make_archive(root, instantiate(data.simulation), data.file_workers)
    elif not root.is_dir():
        raise InputError(f"{root}: no such folder; python -m asim_cvae.simulate root={root} makes it")


def make_data(data: DictConfig, **more: Any) -> Any:
    """Make the data module that the group ``data`` describes.

    Args:
        data: the group.
        more: arguments of the data module that are no settings of the group.
    """
    settings = data.copy()
    with open_dict(settings):
        simulation = settings.pop("simulation")
        if simulation is not None and not simulation.labelled:
            settings.ground_truth.table = None  # an archive without labelled files has no label table
    return instantiate(settings, _partial_=True)(**more)
