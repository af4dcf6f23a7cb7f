"""Imports point one way: a room imports from floors below it, or from rooms before it on its own."""

import ast
from pathlib import Path

import pytest

import asim_cvae

PACKAGE = Path(asim_cvae.__file__).parent

FLOORS = (
    ("errors", "files", "allocator", "parallel", "seeds", "instrument", "classes", "observation", "settings"),
    ("archive", "frames", "simulator", "nn"),
    ("objective", "scoring", "figures"),
    ("data", "model", "legacy", "evaluation"),
    (
        "comparison",
        "results",
        "runs",
        "pictures",
        "dashboard",
        "callbacks",
        "resume",
        "training",
        "sweeps",
        "command",
        "benchmarks",
    ),
    ("simulate", "realism", "prepare", "train", "score", "table", "bench"),
)
ORDER = [room for floor in FLOORS for room in floor]
COMMANDS = FLOORS[-1]


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = _room(path)
    assert room in ORDER, f"{room} stands on no floor"
    for name in _imports(path):
        if name.startswith("asim_cvae."):
            other = name.split(".")[1]
            allowed = ORDER.index(other) <= ORDER.index(room) and (other == room or other not in COMMANDS)
            assert allowed, f"{room} imports {other}, which stands above it"


@pytest.mark.parametrize("room", ["archive", "simulator", "frames", "scoring", "instrument", "observation", "figures"])
def test_no_torch_where_none_is_needed(room: str) -> None:
    for path in FILES:
        if _room(path) == room:
            used = {name.split(".")[0] for name in _imports(path)}
            assert not used & {"torch", "pytorch_lightning", "hydra", "omegaconf"}, path


def test_commands_are_short() -> None:
    for command in COMMANDS:
        assert len((PACKAGE / f"{command}.py").read_text().splitlines()) < 130
