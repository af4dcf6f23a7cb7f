"""Imports point down: a module imports from its own room and from rooms on lower floors, never from higher ones."""

import ast
from pathlib import Path

import pytest

import asim_cvae

PACKAGE = Path(asim_cvae.__file__).parent

ROOMS = (
    *("base", "instrument", "pulses", "archive", "frames", "simulator"),
    *("nn", "model", "data", "scoring", "settings", "runs", "recognition", "triaging", "labelling"),
    *("figures", "inference", "reviewing", "callbacks", "studies", "cli", "sources", "training"),
)
"""Rooms from the lowest floor up: folders of the package, or modules if a room is one file."""

COMMANDS = (
    *("__main__", "accuracy", "agreement", "bench", "boundary", "calibrate", "heads", "prepare", "realism"),
    *(
        "reproduction",
        "review",
        "score",
        "simulate",
        "suggest",
        "table",
        "train",
        "transfer",
        "triage",
        "triage_report",
    ),
)
"""Modules of the commands, which share the top floor; ``__main__`` lists and runs the others."""

TORCH = {"torch", "pytorch_lightning"}
CONFIGURATION = {"hydra", "omegaconf"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            here = node.module == "asim_cvae"
            names |= {f"asim_cvae.{alias.name}" for alias in node.names} if here else {node.module}
    return names


def _libraries(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def _floor(room: str) -> int:
    return len(ROOMS) if room in COMMANDS else ROOMS.index(room)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = _room(path)
    assert room in (*ROOMS, *COMMANDS), f"{room} stands on no floor"
    others = {name.split(".")[1] for name in _imports(path) if name.startswith("asim_cvae.")} - {room}
    above = [other for other in sorted(others & {*ROOMS, *COMMANDS}) if _floor(other) >= _floor(room)]
    assert not above, f"{room} imports {', '.join(above)}, which stand no lower"


def test_every_room_is_there() -> None:
    assert {*ROOMS, *COMMANDS} == {_room(path) for path in FILES}


@pytest.mark.parametrize("room", ROOMS[: ROOMS.index("nn")])
def test_no_torch_below_the_networks(room: str) -> None:
    for path in FILES:
        if _room(path) == room:
            assert not _libraries(path) & (TORCH | CONFIGURATION), path


def test_scores_and_panels_are_made_from_arrays() -> None:
    evaluation = PACKAGE / "scoring" / "evaluation.py"
    for path in [*sorted((PACKAGE / "scoring").glob("*.py")), PACKAGE / "figures" / "panels.py"]:
        if path != evaluation:
            assert not _libraries(path) & (TORCH | CONFIGURATION), path


@pytest.mark.parametrize("room", ["nn", "model", "data"])
def test_training_takes_no_scikit_learn(room: str) -> None:
    for path in FILES:
        if _room(path) == room:
            assert "sklearn" not in _libraries(path), path


def test_commands_are_short() -> None:
    for command in COMMANDS:
        assert len((PACKAGE / f"{command}.py").read_text().splitlines()) < 130
