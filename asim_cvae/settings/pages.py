"""Describe settings for people, in a command's ``--help`` and on the page docs/settings.md."""

import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from asim_cvae.base.markdown import markdown_table
from asim_cvae.settings.composing import composed
from asim_cvae.settings.schema import DECLARATIONS, Section, Setting, choices_of, read_commands

_WIDTH = 110  # characters per line of help
_INDENT = 42  # characters before a description

_FLAGS = """\
-m: a sweep over settings with several values, as seed=0,1,2
--cfg job: print the configuration and end
--hydra-help: flags and settings of Hydra, which reads the command line"""

_HEAD = """\
# Settings

Give a setting as `SETTING=VALUE` on the command line or in a YAML file, and a group of settings as `GROUP=NAME`
(`+experiment=NAME`). What is not allowed is refused in one line, with exit status 2, before anything begins: a value, a
misspelt name, a folder or device that is not there, in a sweep those of all its jobs. `+GROUP.NAME=VALUE` hands another
argument to the class of a group, if its constructor takes one of this name. Files that cannot be used end a command
with exit status 1. `conf/settings.yaml` declares all settings, and `make settings` writes this page from it."""


def help_text(name: str, section: Section, conf: Path, overrides: Sequence[str] = (), more: str | None = None) -> str:
    """Return the text that ``python -m asim_cvae.NAME --help`` prints.

    Args:
        name: name of the command.
        section: its settings.
        conf: folder of the configurations.
        overrides: overrides on the command line, whose values are shown.
        more: the user's own folder of configurations.

    Raises:
        HydraException: an override cannot be used.
    """
    values, chosen = _composed(name, section, conf, overrides, more)
    folders = [conf] if more is None else [conf, Path(more)]
    lines = [f"{section.help}.", "", f"python -m asim_cvae.{name} [GROUP=NAME ...] [SETTING=VALUE ...]"]
    if section.groups:
        choices = {group: ", ".join(choices_of(group, folders)) for group in section.groups}
        override = {group: f"{group}={chosen[group]}" if group in chosen else f"+{group}=NAME" for group in choices}
        lines += ["", "Groups", *_aligned((override[group], names) for group, names in choices.items())]
    for prefix, part, settings in _parts(section, values):
        rows = (
            (shlex.quote(f"{setting}={_text(value)}"), f"{entry.help} ({entry.allowed})")
            for setting, entry, value in settings
        )
        lines += ["", f"{prefix}: {part.help}" if prefix else "Settings", *_aligned(rows)]
    return "\n".join([*lines, "", "Flags", *textwrap.indent(_FLAGS, "  ").splitlines()])


def settings_page(conf: Path) -> str:
    """Return a page in Markdown on all settings of all commands.

    Sections that hold the same settings with the same values are described once; later ones refer to the first.

    Args:
        conf: folder of the configurations.
    """
    lines = [_HEAD]
    first_place: dict[tuple[Any, ...], tuple[str, str]] = {}
    for command, section in read_commands(conf / DECLARATIONS).items():
        lines += ["", f"## {command}", "", f"{section.help}."]
        if section.groups:
            groups = (f"`{group}` ({', '.join(choices_of(group, [conf]))})" for group in section.groups)
            lines += ["", f"Groups: {'; '.join(groups)}."]
        for prefix, part, settings in _parts(section, _composed(command, section, conf)[0]):
            content = tuple((name.removeprefix(prefix), entry, _text(value)) for name, entry, value in settings)
            first, place = first_place.setdefault((part.help, content), (command, prefix))
            if (first, place) != (command, prefix):
                lines += ["", f"`{prefix}`: see `{place}` of [{first}](#{first})."]
            else:
                rows = [(f"`{prefix}{name}`", f"`{text}`", entry.allowed, entry.help) for name, entry, text in content]
                table = markdown_table(("setting", "value", "allowed", "meaning"), rows)
                lines += ["", *([f"`{prefix}`: {part.help}.", ""] if prefix else []), *table]
    return "\n".join([*lines, ""])


def _composed(
    name: str, section: Section, conf: Path, overrides: Sequence[str] = (), more: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a command's unresolved configuration, and the choice from each group that has a default."""
    config = composed(name, conf, overrides, more)
    values: Any = OmegaConf.to_container(OmegaConf.masked_copy(config, list(section.entries)))
    return values, dict(config.hydra.runtime.choices)


def _parts(
    section: Section, config: Mapping[str, Any]
) -> Iterator[tuple[str, Section, list[tuple[str, Setting, Any]]]]:
    """Yield each section of which the configuration has settings.

    Yields:
        The section's dotted name, the section, and its settings: name, declaration and value of each.
    """
    for prefix, part in section.sections():
        values = _at(config, prefix)
        if isinstance(values, Mapping):
            own = [
                (f"{prefix}.{name}".lstrip("."), entry, values[name])
                for name, entry in part.entries.items()
                if isinstance(entry, Setting) and name in values
            ]
            if own:
                yield prefix, part, own


def _at(config: Any, prefix: str) -> Any:
    """Return the part of a configuration with the dotted name ``prefix``; None if there is none."""
    for name in filter(None, prefix.split(".")):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _text(value: Any) -> str:
    """Format a value as the command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _aligned(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of two columns. The second is wrapped, and begins on a new line if the first is long."""
    blank = " " * _INDENT
    for first, second in rows:
        lines = textwrap.wrap(second, _WIDTH - _INDENT)
        if len(first) > _INDENT - 4:
            yield f"  {first}"
        else:
            lines[:1] = [f"  {first}".ljust(_INDENT) + line for line in lines[:1]]
            yield lines.pop(0)
        yield from (blank + line for line in lines)


if __name__ == "__main__":
    sys.stdout.write(settings_page(Path(sys.argv[1])))
