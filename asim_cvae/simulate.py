"""``python -m asim_cvae.simulate``: write a simulated MMIA archive."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command
from asim_cvae.sources import make_simulation

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    """Make sure that the folder holds nothing else."""
    from asim_cvae.simulator.archive import refuse_other_archive

    instantiate(config.engine)
    simulation = make_simulation(config)
    try:
        refuse_other_archive(_root(config), simulation)
    except InputError as error:
        raise SettingError(f"root={error}") from error


@command("simulate", _check)
def main(config: DictConfig) -> None:
    """Write the archive, unless it exists already."""
    from asim_cvae.simulator.archive import make_archive  # scipy takes a second to import

    root = _root(config)
    is_new = make_archive(root, make_simulation(config), config.file_workers, instantiate(config.engine))
    log.info("%s: simulated archive %s", root, "written" if is_new else "exists already with these settings")


def _root(config: DictConfig) -> Path:
    return Path(config.root).expanduser()


if __name__ == "__main__":
    main()
