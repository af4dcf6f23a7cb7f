"""Errors that are the input's, not the program's."""


class InputError(ValueError):
    """What a user gave cannot be used: one line that names it, what is wrong and what to do; commands print it."""
