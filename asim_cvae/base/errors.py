"""Errors that the user's input causes."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used: a file, a folder or a setting.

    The message is one line that names the input, what is wrong with it and what to do. Commands print it without a
    traceback.
    """


class SettingError(InputError):
    """A setting that cannot be used, or does not go with another; the command ends with exit status 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters, or its class name if the message is empty.

    Messages of libraries can run over many lines; this part of them fits into a one-line message. A line that only
    announces the next one, as torch's on weights of another network does, is joined with it.
    """
    first, *others = (str(error).strip() or type(error).__name__).splitlines()
    if first.endswith(":") and others:
        first = f"{first} {others[0].strip()}"
    return first[:200]


def did_you_mean(name: str, names: Iterable[str], alike: float = 0.6) -> str:
    """'; did you mean NEAREST?' where one of ``names`` is close to ``name``, else ''.

    Of dotted names, one that ends in ``name`` is the nearest. ``alike``: the similarity, up to 1, that counts as close.
    """
    names = list(names)
    nearest = [known for known in names if known.endswith(f".{name}")] or get_close_matches(name, names, 1, alike)
    return f"; did you mean {nearest[0]}?" if nearest else ""
