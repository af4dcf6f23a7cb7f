"""What Hydra and OmegaConf say of a mistyped command line, in one line that names what was probably meant."""

import re

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from asim_cvae.base.errors import did_you_mean, first_line
from asim_cvae.settings.schema import Section


def explain(error: Exception, section: Section) -> str:
    """One line on an error of the input, in a command with the settings of ``section``."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as a setting ({first_line(error)})"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        near = did_you_mean(choice, error.options) or f": one of {', '.join(error.options)}"
        return f"{group}={choice}: no such choice{near}"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return str(error)
    text = " ".join(str(error).split())
    added = re.fullmatch(r"Could not override '(?P<name>[^']+)'\..* use \+(?P<override>.+)", text)
    if added:
        return _unknown(added["name"], added["override"], section)
    present = re.match(r"Multiple values for (\S+)\. To override|(\S+) appears more than once in the final", text)
    if present:
        group = present[1] or present[2]
        return f"{group} is chosen already: write {group}=NAME, without a plus"
    lost = re.match(r"Could not delete from config\. '(?P<name>[^']+)' does not exist", text)
    return f"{text}{did_you_mean(lost['name'], section.names())}" if lost else text


def _unknown(name: str, override: str, section: Section) -> str:
    if name in section.groups:
        return f"{override}: write +{override}, with a plus"
    near = did_you_mean(name, section.names())
    return f"{override}: no such setting{near} (+{override} adds a new one)"
