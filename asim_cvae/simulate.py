"""``python -m asim_cvae.simulate``: write a simulated MMIA archive."""

import logging
from dataclasses import fields
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asim_cvae.cli import command

log = logging.getLogger(__name__)


@command("simulate")
def main(config: DictConfig) -> None:
    """Write the archive, unless it exists already."""
    from asim_cvae.simulator.archive import Simulation, make_archive  # scipy takes a second to import

    root = Path(config.root)
    settings = OmegaConf.masked_copy(config, ["_target_", *(field.name for field in fields(Simulation))])
    is_new = make_archive(root, instantiate(settings), config.file_workers)
    log.info("%s: simulated archive %s", root, "written" if is_new else "exists already with these settings")


if __name__ == "__main__":
    main()
