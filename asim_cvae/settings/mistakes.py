"""Turn errors of Hydra and OmegaConf about a mistyped command line into one line, with the name probably meant."""

import errno
import re
import shlex

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from asim_cvae.base.errors import did_you_mean, first_line
from asim_cvae.settings.schema import CONF, Section, choices_of

_SEARCHED = " Config search path: "
"""Words from which on Hydra lists where it looked for a file."""


def explain(error: Exception, section: Section) -> str:
    """Return one line on an input error.

    Args:
        error: the error.
        section: settings of the command, among which a misspelt name is looked up.
    """
    if isinstance(error, OverrideParseException):
        reason = re.sub(r"^\w+Exception: ", "", first_line(error))
        return f"{error.override}: cannot be read as a setting{f' ({reason})' if reason != error.override else ''}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk{f' of {error.filename}' if error.filename else ''}; make room, and try again"
    if isinstance(error, MissingConfigException) and error.options:
        missing = str(error.missing_cfg_file)
        group = next((group for group in section.groups if missing.startswith(f"{group}/")), missing.rpartition("/")[0])
        choice = missing.removeprefix(f"{group}/")
        names = list(dict.fromkeys([*choices_of(group, [CONF]), *error.options]))  # those of --config-dir are Hydra's
        near = did_you_mean(choice, names) or f": one of {', '.join(names)}"
        return f"{group}={choice}: no such choice{near}"
    text = " ".join(str(error).split())
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return text
    unknown = re.fullmatch(r"Could not override '(?P<name>[^']+)'\..* use \+(?P<override>.+)", text)
    if unknown:
        return _unknown(unknown["name"], unknown["override"], section)
    repeated = re.match(r"Multiple values for (\S+)\. To override|(\S+) appears more than once in the final", text)
    if repeated:
        group = repeated[1] or repeated[2]
        return f"{group} is chosen already: write {group}=NAME, without a plus"
    if several := re.match(r"Ambiguous value for argument '([^']+)'", text):
        return f"{several[1]}: several values are a sweep, which takes -m; a list is written in brackets, as [A,B]"
    absent = re.match(r"Could not delete from config\. '(?P<name>[^']+)' does not exist", text)
    return f"{text}{did_you_mean(absent['name'], section.names())}" if absent else text.partition(_SEARCHED)[0]


def _unknown(name: str, override: str, section: Section) -> str:
    """Return one line on an override of a setting that the configuration lacks."""
    if name in section.groups or name in dict(section.settings()):
        return f"{override}: write {shlex.quote(f'+{override}')}, with a plus"
    near = did_you_mean(name, section.names())
    more = f" ({shlex.quote(f'+{override}')} hands it to the class)" if section.is_open(name) else ""
    return f"{override}: no such setting{near}{more}"
