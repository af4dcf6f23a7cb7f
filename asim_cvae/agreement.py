"""``python -m asim_cvae.agreement``: measure how far reviewers agree, and write their consensus."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from asim_cvae.archive.reviews import is_label_table
from asim_cvae.base.errors import SettingError
from asim_cvae.base.files import atomic_write
from asim_cvae.cli import command

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    for table in config.tables:
        if not is_label_table(Path(table).expanduser()):
            raise SettingError(f"tables={table}: no such label table, journal or folder of journals")
    if config.folder is not None and not Path(config.folder).expanduser().is_dir():
        raise SettingError(f"folder={config.folder}: no such folder; give one that triage wrote into, or null")


@command("agreement", _check)
def main(config: DictConfig) -> None:
    """Write the page, its numbers and figure, the frames in dispute, and the consensus."""
    from asim_cvae.figures.agreement import confusion_figure  # matplotlib takes seconds to import
    from asim_cvae.labelling.agreement import measure_agreement
    from asim_cvae.labelling.agreement_page import FIGURE, write_agreement
    from asim_cvae.labelling.consensus import find_consensus, write_consensus, write_disputed
    from asim_cvae.labelling.raters import read_raters

    out = Path(config.out)
    raters = read_raters(Path(table).expanduser() for table in config.tables)
    for problem in raters.problems:
        log.warning("%s", problem)
    agreement, agreed = measure_agreement(raters), find_consensus(raters)
    write_consensus(out / "consensus.csv", agreed)
    triage = None if config.folder is None else Path(config.folder).expanduser()
    write_disputed(out / "disputed.csv", agreed, raters.reviews, triage)
    with atomic_write(out / FIGURE) as partial:
        confusion_figure(agreement.pairs).savefig(partial, dpi=110, format="png")
    log.info("%s", write_agreement(out, agreement, agreed))


if __name__ == "__main__":
    main()
