"""``python -m asim_cvae.review``: serve the page of a triage and keep labels, or write light curves of events."""

import logging
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from asim_cvae.archive.discover import find_root
from asim_cvae.archive.remote import as_root
from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command

if TYPE_CHECKING:
    from asim_cvae.reviewing.shelf import Shelf

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _check(config: DictConfig) -> None:
    """Make sure that there is something to do, and a folder to do it with."""
    if (config.reviewer is None) == (config.events is None):
        raise SettingError("give either reviewer=NAME, to label events, or events=TABLE, to write their light curves")
    if config.events is not None and (config.out is None or Path(config.out).suffix != ".npz"):
        raise SettingError(f"out={config.out}: has to be a file of the suffix .npz")
    if config.events is not None and not Path(config.events).is_file():
        raise SettingError(f"events={config.events}: no such file; export events from the page")
    if config.reviewer is not None and not _NAME.fullmatch(config.reviewer):
        raise SettingError(f"reviewer={config.reviewer}: has to be of letters, digits, dots, dashes, 64 at most")
    for root in config.roots:
        try:
            find_root(root)
        except InputError as error:
            raise SettingError(f"roots=[{error}]") from error


@command("review", _check)
def main(config: DictConfig) -> None:
    """Serve the page of the triage in ``folder``, or write what ``events`` lists."""
    from asim_cvae.reviewing.shelf import Shelf, find_files  # torch takes seconds to import
    from asim_cvae.triaging.ledger import read_provenance

    given = [as_root(root) for root in config.roots]
    paths = find_files(read_provenance(Path(config.folder)).roots, given)
    shelf = Shelf.open(Path(config.folder), paths, tuple(config.trust))
    if config.events is not None:
        _write(config, shelf)
    else:
        _serve(config, shelf)


def _write(config: DictConfig, shelf: "Shelf") -> None:
    from asim_cvae.reviewing.events import write_events

    for line in write_events(Path(config.events), shelf.paths, Path(config.out)):
        log.warning("%s", line)
    log.info("written: %s", config.out)


def _serve(config: DictConfig, shelf: "Shelf") -> None:
    from asim_cvae.reviewing.page import check_page
    from asim_cvae.reviewing.server import Desk, ReviewServer

    check_page(shelf.ledger.folder)
    try:
        server = ReviewServer(Desk(shelf, config.reviewer), config.port)
    except OSError as error:
        raise SettingError(f"port={config.port}: cannot be listened on ({error.strerror}); choose another") from error
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have programs in the background ignore it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        log.info("open %s (Ctrl-C ends it); labels go to %s", server.address, server.desk.journal)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("ended; labels are in %s", server.desk.journal)


if __name__ == "__main__":
    main()
