"""Find the weights that ship with the package."""

from pathlib import Path

from asim_cvae.base.errors import InputError

SHIPPED = Path(__file__).resolve().parent.parent / "pretrained"
"""Folder of the weights that ship: a folder for each name, with an export, heads and a card that describes them."""

NAME = "pretrained"
"""What stands for the newest of them where weights are asked for; ``pretrained/events-1`` for one by its name."""

NEWEST = "events-1"


def located(path: Path) -> Path:
    """Return where weights lie that a user named: in the package where that is meant, and else where they said.

    Args:
        path: path of weights, which may begin with ~; 'pretrained', or 'pretrained/NAME', unless such a path exists.

    Raises:
        InputError: no weights of this name ship.
    """
    path = path.expanduser()
    if path.parts[:1] != (NAME,) or len(path.parts) > 2 or path.exists():
        return path
    found = SHIPPED.joinpath(*(path.parts[1:] or (NEWEST,)))
    if not found.is_dir():
        names = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
        raise InputError(f"{path}: no such weights ship; give pretrained/{' or pretrained/'.join(names)}")
    return found
