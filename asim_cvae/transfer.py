"""``python -m asim_cvae.transfer``: score classes learnt on one simulated archive on others."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from asim_cvae.cli import command

log = logging.getLogger(__name__)


@command("transfer")
def main(config: DictConfig) -> None:
    """Print the scores, and write them into the folder ``out``."""
    from asim_cvae.studies.transfer.study import as_table, study_transfer  # scikit-learn takes seconds to import

    out = Path(config.out)
    scores = study_transfer(Path(config.source), [Path(root) for root in config.targets], list(config.seeds), out)
    log.info("%s", as_table(scores))
    log.info("written: %s", out / "transfer.json")


if __name__ == "__main__":
    main()
