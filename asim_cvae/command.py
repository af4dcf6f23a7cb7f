"""What the commands share: Hydra's entry point, and errors of the input as one line."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from asim_cvae.allocator import keep_large_blocks
from asim_cvae.errors import InputError

CONF = Path(__file__).resolve().parent.parent / "conf"

OmegaConf.register_new_resolver("first", lambda *values: next((v for v in values if v is not None), None))
OmegaConf.register_new_resolver("unless", lambda condition, value: value if condition is None else None)

_NO_NEWS = (
    ".*does not have many workers.*",  # frames come from memory
    ".*logs directory .* is not empty.*",  # Hydra was there first
    ".*LeafSpec.*",  # Lightning's own affair with torch
)
"""Warnings that are of no consequence here."""

log = logging.getLogger(__name__)


def command(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of a configuration the command ``name``, configured by ``conf/NAME.yaml``.

    An :class:`InputError` or an error of the operating system (no space, no permission) ends it with one line and exit
    status 1; in a sweep it is raised, so that the sweep counts the job as failed.
    """

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(task)
        def guarded(config: DictConfig) -> None:
            keep_large_blocks()
            for message in _NO_NEWS:
                warnings.filterwarnings("ignore", message=message)
            try:
                task(config)
            except (InputError, OSError) as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                log.error("%s: %s", name, error)
                sys.exit(1)

        entry: Callable[[], None] = hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(guarded)
        return entry

    return decorate
