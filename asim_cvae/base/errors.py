"""Errors that are the input's, not the program's."""


class InputError(ValueError):
    """What a user gave cannot be used: one line that names it, what is wrong and what to do; commands print it."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, or its kind where it says nothing, short enough to stand in a line of ours."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
