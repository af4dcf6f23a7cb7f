"""``python -m asim_cvae``, or ``asim-cvae``: list the commands, or run one of them."""

import ast
import runpy
import sys
from pathlib import Path

import asim_cvae
from asim_cvae.base.errors import did_you_mean


def main() -> None:
    """List the commands, or run the one that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        print(asim_cvae.__version__)
    else:
        run(name)


def run(name: str) -> None:
    """Run a command as ``python -m asim_cvae.NAME`` does, with the arguments that follow its name.

    Raises:
        SystemExit: there is no such command; one line says so and proposes another.
    """
    names = commands()
    if name not in names:
        advice = did_you_mean(name, names) or f"; the commands are {', '.join(names)}"
        print(f"asim-cvae: there is no command {name}{advice}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    # Training on several devices starts processes by the name of the main module, which has to be the command.
    runpy.run_module(f"asim_cvae.{name}", run_name="__main__", alter_sys=True)


def usage() -> str:
    """Return what the program is for and a line for each command."""
    descriptions = commands()
    width = max(map(len, descriptions))
    lines = (f"  {name:{width}}  {description}" for name, description in descriptions.items())
    return "\n".join([asim_cvae.__doc__ or "", "", _USAGE, "", *lines])


_USAGE = """\
  asim-cvae COMMAND [SETTING=VALUE ...]    run a command, as python -m asim_cvae.COMMAND does
  asim-cvae COMMAND --help                 show its settings
  asim-cvae --version                      show the version"""


def commands() -> dict[str, str]:
    """Return each command's one-line description by its name.

    A command is a module at the top of the package whose docstring begins with its call and its description:
    "``python -m asim_cvae.NAME``: DESCRIPTION." The modules are read, not imported: torch takes seconds to import.
    """
    descriptions = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        first_line = (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
        call, _, description = first_line.partition(": ")
        if call == f"``python -m asim_cvae.{path.stem}``":
            descriptions[path.stem] = description.rstrip(".").replace("``", "")
    return descriptions


if __name__ == "__main__":
    main()
