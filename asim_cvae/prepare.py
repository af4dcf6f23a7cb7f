"""``python -m asim_cvae.prepare``: read an archive into the frame store."""

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.cli import command

log = logging.getLogger(__name__)


@command("prepare")
def main(config: DictConfig) -> None:
    """Bring the store up to date, and say what was refused and left out, and why."""
    instantiate(config.data, _partial_=True)(scaling=None).prepare_data()


if __name__ == "__main__":
    main()
