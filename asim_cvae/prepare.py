"""``python -m asim_cvae.prepare``: read an archive into the frame store."""

import logging

from omegaconf import DictConfig

from asim_cvae.cli import command, make_data, provide_archive

log = logging.getLogger(__name__)


@command("prepare")
def main(config: DictConfig) -> None:
    """Bring the store up to date, and report rejected files and excluded frames with the reasons."""
    provide_archive(config.data)
    make_data(config.data, representation=None).prepare_data(config.check, config.compact)


if __name__ == "__main__":
    main()
