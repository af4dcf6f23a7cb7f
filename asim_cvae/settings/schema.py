"""Read the declarations of settings in ``conf/settings.yaml``, and check configurations against them."""

import functools
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asim_cvae.base.errors import SettingError, did_you_mean, shown, without_secrets
from asim_cvae.base.files import can_be_folder
from asim_cvae.base.targets import TARGET
from asim_cvae.settings.quoting import quoted

DECLARATIONS = "settings.yaml"
"""Name of the file that declares the settings, in the folder of the configurations."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # omegaconf's takes half a second

_PACKAGE = Path(__file__).resolve().parent.parent
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""Folder of the configurations: inside the package of an installed wheel, beside the package in a clone."""


def choices_of(group: str, folders: Sequence[Path]) -> list[str]:
    """Return the names that ``GROUP=NAME`` can choose, those in subfolders with their folder, from these folders."""
    places = [folder / group for folder in folders]
    names = {path.relative_to(place).with_suffix("") for place in places for path in place.rglob("*.yaml")}
    return [str(name) for name in sorted(names, key=lambda name: (len(name.parts), name))]


_MISSING = "???"
"""Value by which Hydra marks a setting that has to be given."""


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


def _is_root(value: Any) -> bool:
    return _is_line(value) and value != ""


def _is_path(value: Any) -> bool:
    return _is_root(value) and not _is_address(value)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and "://" in value


_TYPES = {
    "int": _Type("a whole number", "whole numbers", _is_whole),
    "float": _Type("a number", "numbers", lambda v: _is_whole(v) or (isinstance(v, float) and math.isfinite(v))),
    "bool": _Type("true or false", "true or false", lambda value: isinstance(value, bool)),
    "str": _Type("text", "texts", _is_line),
    "root": _Type("a folder, or its address", "folders, or their addresses", _is_root),
    "path": _Type("a path", "paths", _is_path),
    "folder": _Type(
        "a folder, or a place for one", "folders", lambda value: _is_path(value) and can_be_folder(Path(value))
    ),
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
        named: whether each of its entries names a class, under whatever name.
    """

    entries: Mapping[str, "Setting | Section"]
    help: str = ""
    groups: tuple[str, ...] = ()
    optional: bool = False
    varies: bool = False
    named: bool = False

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

    def is_open(self, name: str) -> bool:
        """Tell whether a class decides if there is a setting of the dotted name ``name``."""
        section = self
        for part in name.split(".")[:-1]:
            entry = section.entries.get(part)
            if not isinstance(entry, Section):
                return section.varies or section.named
            section = entry
        return section.varies


@functools.cache
def declared_settings() -> dict[str, Section]:
    """Return the declared settings of each command."""
    return read_commands(CONF / DECLARATIONS)


def read_commands(path: Path) -> dict[str, Section]:
    """Read the file of declarations at ``path``, and return the settings of each command."""
    declared: Any = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
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
    """Make sure that each setting is there, has an allowed value, and is a setting.

    Names that are not declared pass where a class decides which settings it takes;
    :func:`asim_cvae.settings.places.check_targets` asks the class.

    Args:
        section: the declaration.
        config: resolved values, nested as in Hydra's configuration.
        prefix: text before the names in error messages, such as 'data.'.

    Raises:
        SettingError: a value is not allowed, a setting that has to be given is missing, or there is no such setting.
    """
    for key, value in config.items():
        entry = section.entries.get(key)
        if entry is None:
            _check_undeclared(section, f"{prefix}{key}", key, value)
        elif isinstance(entry, Setting):
            _check_value(entry, f"{prefix}{key}", value)
        else:
            _check_group(entry, f"{prefix}{key}", value)
    for key, entry in section.entries.items():
        if key not in config and not (section.varies or section.named):
            raise SettingError(f"{prefix}{key} has to be given: {entry.help}")


def _check_value(setting: Setting, name: str, value: Any) -> None:
    if value == _MISSING:
        raise SettingError(f"{name} has to be given: {setting.help}")
    if not setting.takes(value):
        raise SettingError(
            f"{name}={shown(without_secrets(str(value)))}: has to be {setting.allowed}{_hint(name, setting, value)}"
        )


def _check_group(section: Section, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        if section.varies and TARGET not in value:
            raise SettingError(f"{name}: has to name a class, as {name}.{TARGET}=PACKAGE.MODULE.CLASS")
        check_config(section, value, f"{name}.")
    elif not (value is None and section.optional):
        example = next(iter(section.entries), TARGET)
        raise SettingError(f"{name}={shown(value)}: has to be a group of settings, such as {name}.{example}")


def _check_undeclared(section: Section, name: str, key: str, value: Any) -> None:
    """Raise SettingError unless a name that is not declared is Hydra's own, or may be one that a class takes."""
    if (key.startswith("_") and key.endswith("_")) or section.varies:
        return
    if key in section.groups:
        raise SettingError(f'{name}: its YAML file lacks "# @package _global_" as its first line')
    if not (section.named and isinstance(value, Mapping) and TARGET in value):
        near = did_you_mean(key, [*section.entries, *section.groups]) or "; --help lists them"
        advice = f"; {name}.{TARGET}=PACKAGE.MODULE.CLASS adds one" if section.named else ""
        raise SettingError(f"{name}: no such setting{near}{advice}")


def lacking_names(section: Section, config: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of declared settings and sections that ``config`` lacks."""
    lacking = []
    for key, entry in section.entries.items():
        value = config.get(key)
        if key not in config and not (section.varies or section.named):
            lacking.append(key)
        elif isinstance(entry, Section) and isinstance(value, Mapping):
            lacking += [f"{key}.{name}" for name in lacking_names(entry, value)]
    return lacking


def _hint(name: str, setting: Setting, value: Any) -> str:
    """Return advice that follows the message on a value that is not allowed; '' if there is none."""
    if setting.type in ("path", "folder") and _is_address(value):
        return " on this machine; addresses are for the MMIA files of triage, review and data=mmia"
    if setting.type in ("str", "path", "root") and not setting.choices and isinstance(value, int | float):
        return f"; quote it, as {shlex.quote(quoted(name, str(value)))}"
    return did_you_mean(str(value), map(str, setting.choices))
