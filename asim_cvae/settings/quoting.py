"""Quote settings so that a printed command can be pasted: for Hydra, which reads the values, and for the shell."""

import re
import shlex
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def pasteable(command: str, settings: Mapping[str, str], more: Sequence[str] = ()) -> str:
    """Return a shell command that runs a command of this program with ``settings``, whatever their values hold.

    ``more``: overrides as Hydra reads them.
    """
    overrides = (quoted(name, value) for name, value in settings.items())
    return shlex.join(["python", "-m", f"asim_cvae.{command}", *overrides, *more])


def quoted(name: str, text: str) -> str:
    """Return ``NAME=TEXT`` as Hydra reads the text back: in quotes if it would take it for something else.

    A number, null, a list and a sweep are something else; see hydra.cc/docs/advanced/override_grammar/basic.
    """
    return f"{name}={text}" if _is_read_as_text(text) else f'{name}="{_escaped(text)}"'


def _is_read_as_text(text: str) -> bool:
    if re.search(r"[\\$]", text):  # escapes and interpolations, which are not resolved yet when an override is parsed
        return False
    try:
        override = OverridesParser.create().parse_override(f"x={text}")
    except HydraException:
        return False
    return not override.is_sweep_override() and override.value() == text


def _escaped(text: str) -> str:
    """Escape quotes and interpolations, and the backslashes before them."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), text)
