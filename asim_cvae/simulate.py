"""``python -m asim_cvae.simulate``: write a simulated MMIA archive."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.command import command
from asim_cvae.simulator.archive import make_archive

log = logging.getLogger(__name__)


@command("simulate")
def main(config: DictConfig) -> None:
    """Write the archive, or say that it is there."""
    root = Path(config.root)
    made = make_archive(root, instantiate(config.simulation), config.workers)
    log.info("%s: simulated archive %s", root, "written" if made else "is there already, as wanted")


if __name__ == "__main__":
    main()
