"""Errors that the user's input causes."""


class InputError(ValueError):
    """Input that cannot be used: a file, a folder or a setting.

    The message is one line that names the input, what is wrong with it and what to do. Commands print it without a
    traceback.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters, or its class name if the message is empty.

    Messages of libraries can run over many lines; this part of them fits into a one-line message.
    """
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
