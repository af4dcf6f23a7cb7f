"""``python -m asim_cvae.suggest``: suggest which frames of a triage to label next."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    from asim_cvae.archive.reviews import is_label_table
    from asim_cvae.triaging.ledger import PROVENANCE  # torch takes seconds to import

    folder, out = Path(config.folder), Path(config.out)
    if not (folder / PROVENANCE).is_file():
        raise SettingError(f"folder={folder}: holds no triage; python -m asim_cvae.triage out={folder} makes one")
    if out.exists():
        raise SettingError(f"out={out}: is there already, and labels may be in it; choose another file")
    if config.labels is not None and not is_label_table(Path(config.labels)):
        raise SettingError(
            f"labels={config.labels}: no such file, or no journals in it; null if there are no labels yet"
        )


@command("suggest", _check)
def main(config: DictConfig) -> None:
    """Write the label table ``out``, whose classes are empty, of frames in the triage ``folder`` without a label."""
    from asim_cvae.labelling.queue import labelled_frames, read_frames, tell, write_queue
    from asim_cvae.labelling.suggesting import suggest
    from asim_cvae.triaging.ledger import Ledger

    frames, out = read_frames(Ledger(Path(config.folder), {})), Path(config.out)
    files = frames["file"].unique().to_pylist()
    labelled = set() if config.labels is None else labelled_frames(Path(config.labels), files)
    suggestions = suggest(frames, labelled, config.count, config.seed)
    if not suggestions:
        raise InputError(f"{config.folder}: all of its whole frames have labels; there is nothing to suggest")
    write_queue(out, frames, suggestions)
    log.info("%d frames have labels already", len(labelled))
    log.info("%s", tell(suggestions))
    log.info("written: %s; fill in its Classification", out)


if __name__ == "__main__":
    main()
