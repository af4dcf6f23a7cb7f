"""Read the declarations of settings in ``conf/settings.yaml``, and check configurations against them."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from asim_cvae.base.errors import InputError, did_you_mean, shown

DECLARATIONS = "settings.yaml"
"""Name of the file that declares the settings, in the folder of the configurations."""

_PACKAGE = Path(__file__).resolve().parent.parent
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""Folder of the configurations: inside the package of an installed wheel, beside the package in a clone."""

_MISSING = "???"
"""Value by which Hydra marks a setting that has to be given."""

_MISSPELT = 0.8
"""Similarity to a known name from which an unknown one counts as misspelt; others may be the user's own."""


@dataclass(frozen=True)
class _Type:
    """A type of values: its name in the singular and the plural, and a test of a value."""

    name: str
    plural: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_line(value: Any) -> bool:
    """Tell whether a value is text without line breaks and other control characters, which no message should repeat."""
    return isinstance(value, str) and not any(ord(character) < 32 or ord(character) == 127 for character in value)


_TYPES = {
    "int": _Type("a whole number", "whole numbers", _is_whole),
    "float": _Type("a number", "numbers", lambda v: _is_whole(v) or (isinstance(v, float) and math.isfinite(v))),
    "bool": _Type("true or false", "true or false", lambda value: isinstance(value, bool)),
    "str": _Type("text", "texts", _is_line),
    "path": _Type("a path", "paths", lambda value: _is_line(value) and value != ""),
    "mapping": _Type("a mapping", "mappings", lambda value: isinstance(value, Mapping)),
    "any": _Type("anything", "anything", lambda value: value is not None),
}


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting. In a list, the bounds and choices are those of each element.

    Attributes:
        type: a name in ``_TYPES``, or ``list[NAME]``.
        help: a line of description.
        min: smallest allowed value.
        max: largest allowed value.
        above: lower bound, not itself allowed.
        below: upper bound, not itself allowed.
        choices: all allowed values; () if any value in the range is allowed.
        optional: whether null is allowed.
        empty: whether an empty list is allowed.
    """

    type: str
    help: str
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] = ()
    optional: bool = False
    empty: bool = False

    def takes(self, value: Any) -> bool:
        """Tell whether ``value`` is allowed."""
        if value is None:
            return self.optional
        if self._is_list:
            return isinstance(value, list) and (self.empty or value != []) and all(map(self._takes_one, value))
        return self._takes_one(value)

    @property
    def allowed(self) -> str:
        """Description of the allowed values in words."""
        one = f"one of {', '.join(map(str, self.choices))}" if self.choices else self._kind + self._range()
        return one + (", or null" if self.optional else "")

    @property
    def _is_list(self) -> bool:
        return self.type.startswith("list[")

    @property
    def _element(self) -> _Type:
        return _TYPES[self.type.removeprefix("list[").removesuffix("]")]

    @property
    def _kind(self) -> str:
        return f"a list of {self._element.plural}" if self._is_list else self._element.name

    def _takes_one(self, value: Any) -> bool:
        if not self._element.holds(value) or (self.choices and value not in self.choices):
            return False
        return not (
            (self.min is not None and value < self.min)
            or (self.max is not None and value > self.max)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )

    def _range(self) -> str:
        if self.min is not None and self.max is not None:
            return f" from {_number(self.min)} to {_number(self.max)}"
        ends = {"{} or more": self.min, "above {}": self.above, "{} at most": self.max, "below {}": self.below}
        words = " and ".join(end.format(_number(value)) for end, value in ends.items() if value is not None)
        return f", {words}" if words else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True)
class Section:
    """The declaration of a group of settings, or of all settings of a command.

    Attributes:
        entries: settings and sections by name.
        help: a line of description.
        groups: config groups from which a command chooses; () for a group of settings.
        optional: whether null is allowed in place of the settings.
        varies: whether the class in its ``_target_`` decides which of the settings exist.
    """

    entries: Mapping[str, "Setting | Section"]
    help: str = ""
    groups: tuple[str, ...] = ()
    optional: bool = False
    varies: bool = False

    def settings(self, prefix: str = "") -> Iterator[tuple[str, Setting]]:
        """Yield all settings with their dotted names."""
        for name, entry in self.entries.items():
            if isinstance(entry, Section):
                yield from entry.settings(f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", entry

    def sections(self, prefix: str = "") -> Iterator[tuple[str, "Section"]]:
        """Yield the section itself, named '', and all sections within it with their dotted names."""
        yield prefix, self
        for name, entry in self.entries.items():
            if isinstance(entry, Section):
                yield from entry.sections(f"{prefix}.{name}".lstrip("."))

    def section(self, name: str) -> "Section":
        """Return the section with the dotted name ``name``."""
        return dict(self.sections())[name]

    def names(self) -> list[str]:
        """Return the names of settings, sections and groups, which are all names that an override can change."""
        sections = (name for name, _ in self.sections() if name)
        return [*(name for name, _ in self.settings()), *sections, *self.groups]


@functools.cache
def declared_settings() -> dict[str, Section]:
    """Return the declared settings of each command."""
    return read_commands(CONF / DECLARATIONS)


def read_commands(path: Path) -> dict[str, Section]:
    """Read the file of declarations at ``path``, and return the settings of each command."""
    declared: Any = OmegaConf.to_container(OmegaConf.load(path))
    return {name: _section(entries) for name, entries in declared["commands"].items()}


def _section(declared: Mapping[str, Any]) -> Section:
    entries = {name: _entry(entry) for name, entry in declared.items() if name != "_"}
    about = dict(declared.get("_", {}))
    return Section(entries, **{**about, "groups": tuple(about.get("groups", ()))})


def _entry(declared: Mapping[str, Any]) -> Setting | Section:
    if "type" not in declared:
        return _section(declared)
    return Setting(**{**declared, "choices": tuple(declared.get("choices", ()))})


def check_config(section: Section, config: Mapping[str, Any], prefix: str = "") -> None:
    """Make sure that each setting has an allowed value.

    Names that are not declared pass, unless they seem to be misspelt: they may be the user's own.

    Args:
        section: the declaration.
        config: resolved values, nested as in Hydra's configuration.
        prefix: text before the names in error messages, such as 'data.'.

    Raises:
        InputError: a value is not allowed, a setting that has to be given is missing, or a name seems to be misspelt.
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        entry = section.entries.get(key)
        if entry is None:
            if not _is_hydras(key) and not section.varies:
                _refuse_misspelt(name, key, section)
        elif value == _MISSING:
            raise InputError(f"{name} has to be given: {entry.help}")
        elif isinstance(entry, Setting):
            if not entry.takes(value):
                raise InputError(f"{name}={shown(value)}: has to be {entry.allowed}{_hint(name, entry, value)}")
        elif isinstance(value, Mapping):
            check_config(entry, value, f"{name}.")
        elif not (value is None and entry.optional):
            raise InputError(
                f"{name}={shown(value)}: has to be a group of settings, such as {name}.{next(iter(entry.entries))}"
            )


def lacking_names(section: Section, config: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of declared settings and sections that ``config`` lacks."""
    lacking = []
    for key, entry in section.entries.items():
        value = config.get(key)
        if key not in config and not section.varies:
            lacking.append(key)
        elif isinstance(entry, Section) and isinstance(value, Mapping):
            lacking += [f"{key}.{name}" for name in lacking_names(entry, value)]
    return lacking


def _hint(name: str, setting: Setting, value: Any) -> str:
    """Return advice that follows the message on a value that is not allowed; '' if there is none."""
    if setting.type in ("str", "path") and not setting.choices and isinstance(value, int | float):
        return f"; quote it, as {name}='\"{value}\"'"
    return did_you_mean(str(value), map(str, setting.choices))


def _refuse_misspelt(name: str, key: str, section: Section) -> None:
    """Raise InputError if an unknown key resembles a declared one."""
    near = did_you_mean(str(key), [*section.entries, *section.groups], _MISSPELT)
    if near:
        raise InputError(f"{name}: no such setting{near}")


def _is_hydras(key: str) -> bool:
    """Tell whether a key is one of Hydra's, such as ``_target_``."""
    return key.startswith("_") and key.endswith("_")
