"""Errors that are the input's, not the program's."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """What a user gave cannot be used: one line that names it, what is wrong and what to do; commands print it."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, or its kind where it says nothing, short enough to stand in a line of ours."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def did_you_mean(name: str, names: Iterable[str], alike: float = 0.6) -> str:
    """'; did you mean NEAREST?' where one of ``names`` is close to ``name``, else ''.

    Of dotted names, one that ends in ``name`` is the nearest. ``alike``: the similarity, up to 1, that counts as close.
    """
    names = list(names)
    nearest = [known for known in names if known.endswith(f".{name}")] or get_close_matches(name, names, 1, alike)
    return f"; did you mean {nearest[0]}?" if nearest else ""
