"""Settings as people read them: ``--help`` of a command, and the page docs/settings.md."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from asim_cvae.base.markdown import markdown_table
from asim_cvae.settings.schema import DECLARATIONS, Section, Setting, read_commands

_WIDTH = 110
_INDENT = 42
"""Columns of the text, and of what stands before a description."""

_FLAGS = """\
-m: a sweep over settings with several values, as seed=0,1,2
--cfg job: print the configuration and end
--hydra-help: flags and settings of Hydra, which reads the command line"""

_HEAD = """\
# Settings

Each is given as `SETTING=VALUE` on the command line or in a YAML file, a group as `GROUP=NAME`
(`+experiment=NAME`). What is not allowed is refused in one line, before anything begins. `conf/settings.yaml`
declares all this, and `make settings` writes this page from it."""


def help_text(name: str, section: Section, conf: Path, overrides: Sequence[str] = (), more: str | None = None) -> str:
    """What ``python -m asim_cvae.NAME --help`` prints.

    Args:
        name: of the command.
        section: its settings.
        conf: folder of the configurations.
        overrides: of the command line, whose values are shown.
        more: another folder of configurations, given by the user.

    Raises:
        HydraException: an override cannot be used.
    """
    searched = [] if more is None else [f"hydra.searchpath=[file://{Path(more).absolute()}]"]
    values, chosen = _composed(name, section, conf, [*overrides, *searched])
    folders = [conf] if more is None else [conf, Path(more)]
    lines = [f"{section.help}.", "", f"python -m asim_cvae.{name} [GROUP=NAME ...] [SETTING=VALUE ...]"]
    if section.groups:
        choices = {group: ", ".join(_choices(group, folders)) for group in section.groups}
        given = {group: f"{group}={chosen[group]}" if group in chosen else f"+{group}=NAME" for group in choices}
        lines += ["", "Groups", *_aligned((given[group], listed) for group, listed in choices.items())]
    for prefix, part, settings in _parts(section, values):
        rows = ((f"{setting}={_text(value)}", f"{entry.help} ({entry.allowed})") for setting, entry, value in settings)
        lines += ["", f"{prefix}: {part.help}" if prefix else "Settings", *_aligned(rows)]
    return "\n".join([*lines, "", "Flags", *textwrap.indent(_FLAGS, "  ").splitlines()])


def settings_page(conf: Path) -> str:
    """All settings of all commands in Markdown; a group that several commands have is described where it comes first.

    Args:
        conf: folder of the configurations.
    """
    lines = [_HEAD]
    shown: dict[tuple[str, str], str] = {}
    for command, section in read_commands(conf / DECLARATIONS).items():
        lines += ["", f"## {command}", "", f"{section.help}."]
        if section.groups:
            listed = (f"`{group}` ({', '.join(_choices(group, [conf]))})" for group in section.groups)
            lines += ["", f"Groups: {'; '.join(listed)}."]
        for prefix, part, settings in _parts(section, _composed(command, section, conf, [])[0]):
            rows = [(f"`{name}`", f"`{_text(value)}`", entry.allowed, entry.help) for name, entry, value in settings]
            table = "\n".join(markdown_table(("setting", "value", "allowed", "what it is"), rows))
            first = shown.setdefault((prefix, table), command)
            if first != command:
                lines += ["", f"`{prefix}`: as of [{first}](#{first})."]
            else:
                lines += ["", *([f"`{prefix}`: {part.help}.", ""] if prefix else []), table]
    return "\n".join([*lines, ""])


def _composed(
    name: str, section: Section, conf: Path, overrides: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """A command's configuration, unresolved, and what is chosen of each group that has a default."""
    with initialize_config_dir(str(conf.absolute()), version_base="1.3"):
        config = compose(name, list(overrides), return_hydra_config=True)
    values: Any = OmegaConf.to_container(OmegaConf.masked_copy(config, list(section.entries)))
    return values, dict(config.hydra.runtime.choices)


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


if __name__ == "__main__":
    sys.stdout.write(settings_page(Path(sys.argv[1])))
