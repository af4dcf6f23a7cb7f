"""Code blocks of README and docs: Python runs, YAML composes, commands compose, links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _commands(program: str) -> list[list[str]]:
    """Arguments of each line of a shell block that calls the program; lines may go on after a backslash."""
    found = []
    for page in PAGES:
        for block in _blocks(page, "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.split()[len(program.split()) :] and line for line in lines if line.startswith(program)]
    return [shlex.split(line, comments=True)[len(program.split()) :] for line in found]


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("arguments", _commands("python -m"), ids=" ".join)
def test_commands_compose(run, arguments: list[str]) -> None:
    module, *settings = arguments
    settings = [re.sub(r"glob\(\*\)", "relu_lr2e-4", setting) for setting in settings if setting != "-m"]
    settings = [re.sub(r"^([^'=]+=[^,\[{]+),.*", r"\1", setting) for setting in settings]  # the first of swept values
    told = run(module.removeprefix("asim_cvae."), *settings, "--cfg", "job").stdout
    assert "_target_" in told or "runs:" in told


@pytest.mark.parametrize("arguments", _commands("make"), ids=" ".join)
def test_make_targets_exist(arguments: list[str]) -> None:
    assert re.search(rf"^{arguments[0]}:.*##", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), flags=re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(_anchor, headings), target
