"""What the commands share: Hydra's entry point, errors of the input as one line, and the data that they work on."""

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
from asim_cvae.settings.schema import DECLARATIONS, Section, check_config, read_commands
from asim_cvae.targets import check_targets

_IN_PACKAGE = Path(__file__).resolve().parent / "conf"
CONF = _IN_PACKAGE if _IN_PACKAGE.is_dir() else _IN_PACKAGE.parent.parent / "conf"
"""Folder of the configurations: an installed wheel has it in the package, a clone beside the package."""

OUTPUTS = Path("outputs")
"""Where commands write, unless told otherwise."""


@functools.cache
def declared_settings() -> dict[str, Section]:
    """The settings of each command."""
    return read_commands(CONF / DECLARATIONS)


def plain_config(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, resolved; settings that have to be given still are '???'."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


OmegaConf.register_new_resolver("first", lambda *values: next((v for v in values if v is not None), None))
OmegaConf.register_new_resolver("unless", lambda condition, value: value if condition is None else None)
OmegaConf.register_new_resolver("swept", swept_settings)

log = logging.getLogger(__name__)

_OF_THE_INPUT = (InputError, OSError, HydraException, OmegaConfBaseException)

_NO_NEWS = (
    ".*does not have many workers.*",  # frames come from memory
    ".*logs directory .* is not empty.*",  # Hydra was there first
    ".*LeafSpec.*",  # Lightning's own affair with torch
    ".*dataloader is not resumable.*",  # EpochShuffle is
    ".*Grad strides do not match.*",  # of weights of a few values
)
"""Warnings that are of no consequence here."""


def command(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of a configuration the command ``name``, configured by ``conf/NAME.yaml``.

    An :class:`InputError`, an error of the operating system (no space, no permission) or one of the configuration ends
    it with one line and exit status 1; any other is a fault of the program and shows its traceback.
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
            except Exception as error:  # the sweep goes on, and raises it at its end
                found = _cause(error)
                log.error("%s failed: %s", HydraConfig.get().runtime.output_dir, found)
                if found is not error:
                    raise found from None
                raise

        def entry() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra is to hand errors over, not to print them
            keep_large_blocks()
            for message in _NO_NEWS:
                warnings.filterwarnings("ignore", message=message)
            with _errors_as_lines(name):
                given = get_args_parser().parse_args()
                if given.help:  # Hydra's own lists groups of all commands, and is slow
                    print(help_text(name, declared_settings()[name], CONF, given.overrides, given.config_dir))
                    return
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()

        return entry

    return decorate


def _cause(error: Exception) -> Exception:
    """The error of the input behind one of instantiation: a launcher's processes would lose it on the way."""
    cause = error.__cause__
    if not isinstance(error, InstantiationException) or cause is None:
        return error
    if isinstance(cause, TypeError) and "unexpected keyword argument" in str(cause):
        place = str(error).rpartition("full_key: ")[2]
        return InputError(f"{place}: {first_line(cause)}")
    return cause if isinstance(cause, _OF_THE_INPUT) else error


@contextmanager
def _errors_as_lines(name: str) -> Iterator[None]:
    try:
        yield
    except _OF_THE_INPUT as error:
        cause = _cause(error)
        if not isinstance(cause, _OF_THE_INPUT) or isinstance(cause, InstantiationException):
            raise
        sys.exit(f"{name}: {explain(cause, declared_settings()[name])}")
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell makes of SIGINT


def provide_archive(data: DictConfig) -> None:
    """Make the simulated archive that the group ``data`` describes, where it is missing or unfinished below outputs/.

    Raises:
        InputError: there is no such folder elsewhere, or the one below outputs/ holds something else.
    """
    if data.simulation is None or data.root is None:
        return
    from asim_cvae.simulator.archive import make_archive  # scipy takes its time

    root = Path(data.root).expanduser()
    log.info("data are simulated, in %s", root)
    if OUTPUTS.resolve() in root.resolve().parents:
        make_archive(root, instantiate(data.simulation), data.file_workers)
    elif not root.is_dir():
        raise InputError(f"{root}: no such folder; python -m asim_cvae.simulate root={root} makes it")


def make_data(data: DictConfig, **more: Any) -> Any:
    """The data module that the group ``data`` describes, with what is known only now."""
    settings = data.copy()
    with open_dict(settings):
        simulation = settings.pop("simulation")
        if simulation is not None and not simulation.labelled:
            settings.ground_truth.table = None  # such an archive has none
    return instantiate(settings, _partial_=True)(**more)
