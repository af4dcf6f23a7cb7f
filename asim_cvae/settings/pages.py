"""Settings as people read them: ``--help`` of a command, and the page docs/settings.md."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asim_cvae.base.markdown import markdown_table
from asim_cvae.settings.schema import Section, Setting

_WIDTH = 110
_INDENT = 42
"""Columns of the text, and of what stands before a description."""

_FLAGS = """\
-m: a sweep over settings with several values, as seed=0,1,2
--cfg job: print the configuration and end
--hydra-help: flags and settings of Hydra, which reads the command line"""


def help_text(
    name: str, section: Section, config: Mapping[str, Any], chosen: Mapping[str, str], folders: Sequence[Path]
) -> str:
    """What ``python -m asim_cvae.NAME --help`` prints.

    Args:
        name: of the command.
        section: its settings.
        config: their values, unresolved.
        chosen: what is chosen of each config group that has a default.
        folders: where config groups are searched.
    """
    lines = [f"{section.help}.", "", f"python -m asim_cvae.{name} [GROUP=NAME ...] [SETTING=VALUE ...]"]
    if section.groups:
        choices = {group: ", ".join(_choices(group, folders)) for group in section.groups}
        given = {group: f"{group}={chosen[group]}" if group in chosen else f"+{group}=NAME" for group in choices}
        lines += ["", "Groups", *_aligned((given[group], listed) for group, listed in choices.items())]
    for prefix, part, settings in _parts(section, config):
        rows = ((f"{setting}={_text(value)}", _described(entry)) for setting, entry, value in settings)
        lines += ["", f"{prefix}: {part.help}" if prefix else "Settings", *_aligned(rows)]
    return "\n".join([*lines, "", "Flags", *textwrap.indent(_FLAGS, "  ").splitlines()])


def settings_page(commands: Mapping[str, Section], configs: Mapping[str, Mapping[str, Any]]) -> str:
    """All settings of all commands in Markdown; a group that several commands have is described where it comes first.

    Args:
        commands: their settings.
        configs: the values of each command, unresolved.
    """
    lines = [
        "# Settings",
        "",
        "Each is set as `NAME=VALUE` on the command line, or in a YAML file. A value that is not allowed is refused",
        "before anything begins. `make settings` writes this page from `conf/`.",
    ]
    shown: dict[tuple[str, Section], str] = {}
    for command, section in commands.items():
        lines += ["", f"## {command}", "", f"{section.help}."]
        if section.groups:
            lines += ["", f"Groups: {', '.join(f'`{group}`' for group in section.groups)}."]
        for prefix, part, settings in _parts(section, configs[command]):
            first = shown.setdefault((prefix, part), command)
            if prefix and first != command:
                lines += ["", f"`{prefix}`: see [{first}](#{first})."]
                continue
            rows = [(f"`{name}`", f"`{_text(value)}`", entry.allowed, entry.help) for name, entry, value in settings]
            heading = ["", f"### {prefix} ({command})", "", f"{part.help}."] if prefix else []
            lines += [*heading, "", *markdown_table(("setting", "value", "allowed", "what it is"), rows)]
    return "\n".join([*lines, ""])


def _parts(
    section: Section, config: Mapping[str, Any]
) -> Iterator[tuple[str, Section, list[tuple[str, Setting, Any]]]]:
    """Sections with settings that the configuration has: the name before theirs, and each setting with its value."""
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
    for name in filter(None, prefix.split(".")):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _choices(group: str, folders: Sequence[Path]) -> list[str]:
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def _described(setting: Setting) -> str:
    return f"{setting.help} ({setting.allowed})"


def _text(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _aligned(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Two columns, the second wrapped; it begins a line of its own where the first is long."""
    blank = " " * _INDENT
    for first, second in rows:
        lines = textwrap.wrap(second, _WIDTH - _INDENT)
        if len(first) > _INDENT - 4:
            yield f"  {first}"
        else:
            lines[:1] = [f"  {first}".ljust(_INDENT) + line for line in lines[:1]]
            yield lines.pop(0)
        yield from (blank + line for line in lines)
