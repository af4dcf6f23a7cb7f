"""Give commands settings that they cannot take: each says so in one line, before it begins anything."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.faults.commands import run_command, wrong_refusal
from tests.faults.report import Case

_CONF = Path(__file__).resolve().parent.parent.parent / "conf"

_REST = {
    "train": [],
    "prepare": [],
    "score": ["weights=nowhere"],
    "simulate": ["root=archive"],
    "table": [],
    "realism": [],
    "bench": [],
}
"""Commands, and the settings that each has to be given."""

_SYNTAX = (
    "seed",
    "=3",
    "seed==3",
    "seed=[1",
    "data={a",
    "+",
    "~nothing",
    "++=1",
    "seed=1,2",
    "a b=3",
    "--nope",
    "'x",
    "-x",
)
_MISSING = (
    ("train", "data=mmia"),
    ("train", "data=mmia data.root=nowhere"),
    ("prepare", "data=mmia data.root=nowhere"),
    ("prepare", "data=mmia"),
    ("prepare", "data=mmia data.root=."),
    ("prepare", "data=mmia data.root=text.txt"),
    ("prepare", "data=mmia data.root=. data.ground_truth.table=nowhere.xlsx"),
    ("train", "resume=nowhere"),
    ("train", "resume=text.txt"),
    ("train", "resume=."),
    ("score", ""),
    ("score", "weights=nowhere"),
    ("score", "weights=text.txt"),
    ("score", "weights=."),
    ("table", "runs=nowhere"),
    ("table", "runs=."),
    ("table", "runs=text.txt"),
    ("simulate", ""),
    ("simulate", "root=text.txt"),
    ("simulate", "root=archive observations=0 labelled=0"),
    ("realism", "reference=nowhere"),
    ("train", "data.root=elsewhere"),
    ("train", "data.store=text.txt data=mmia data.root=."),
    ("prepare", "data.store=text.txt/store data=mmia data.root=."),
    ("train", "hydra.run.dir=text.txt"),
    ("train", "hydra.run.dir=text.txt/run"),
    ("simulate", "root=text.txt/archive"),
    ("realism", "out=text.txt"),
    ("bench", "out=text.txt/bench"),
    ("table", "runs=. out=text.txt"),
)
_GROUPS = ("data", "representation", "model", "trainer", "callbacks", "scoring", "+experiment", "simulation", "suite")
_TARGETS = (
    "os.system",
    "torch.load",
    "builtins.open",
    "nowhere.Network",
    "asim_cvae.nn.nothing.Network",
    "torch.nn.Linear",
)
_TARGET_PLACES = (
    "model.network",
    "model.likelihood",
    "model.optimizer",
    "representation",
    "data",
    "trainer",
    "model.beta",
)

Misuse = tuple[str, list[str]]


def _settings(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the declared settings of a command, by dotted name."""
    for name, entry in section.items():
        if name == "_":
            continue
        if "type" in entry and isinstance(entry["type"], str):
            yield f"{prefix}{name}", entry
        else:
            yield from _settings(entry, f"{prefix}{name}.")


def _wrong_values(entry: Mapping[str, Any]) -> list[str]:
    """Give values that a setting cannot have, by its declaration."""
    kind = entry["type"]
    values = ["{a:1}", "[1,2]"] if kind in ("int", "float", "bool", "str") else []
    if kind == "int":
        values += ["ten", "1.5", "true"]
    if kind == "float":
        values += ["ten", "nan", "true"]
    if kind == "bool":
        values += ["maybe", "3", "null"]
    if "choices" in entry:
        values += ["nothing_like_it", "-7"]
    if "min" in entry:
        values.append(str(entry["min"] - 1))
    if "max" in entry:
        values.append(str(entry["max"] + 1))
    if "above" in entry:
        values.append(str(entry["above"]))
    if "below" in entry:
        values.append(str(entry["below"]))
    if kind in ("int", "float", "bool") and not entry.get("optional"):
        values.append("null")
    return values


def wrong_setting(rng: np.random.Generator) -> Misuse:
    """Give a declared setting a value that it cannot have."""
    command = str(rng.choice(sorted(_REST.keys() - {"table"})))  # whose settings are paths
    declared = yaml.safe_load((_CONF / "settings.yaml").read_text(encoding="utf-8"))["commands"][command]
    choices = [(name, value) for name, entry in _settings(declared) for value in _wrong_values(entry)]
    name, value = choices[int(rng.integers(len(choices)))]
    return command, [*_REST[command], f"++{name}={value}" if rng.random() < 0.2 else f"{name}={value}"]


def misspelt_setting(rng: np.random.Generator) -> Misuse:
    """Leave a letter of a setting's name out, or put one in."""
    command = str(rng.choice(sorted(_REST)))
    declared = yaml.safe_load((_CONF / "settings.yaml").read_text(encoding="utf-8"))["commands"][command]
    names = [name for name, _ in _settings(declared)]
    name = names[int(rng.integers(len(names)))]
    place = int(rng.integers(1, len(name)))
    changed = name[:place] + str(rng.choice(["", "q"])) + name[place + (rng.random() < 0.5) :]
    if changed in names or changed.strip(".") != changed or ".." in changed:
        changed = f"{name}x"
    return command, [*_REST[command], f"{rng.choice(['', '+'])}{changed}=1"]


def wrong_syntax(rng: np.random.Generator) -> Misuse:
    command = str(rng.choice(sorted(_REST)))
    return command, [*_REST[command], _SYNTAX[int(rng.integers(len(_SYNTAX)))]]


def wrong_file(rng: np.random.Generator) -> Misuse:
    command, given = _MISSING[int(rng.integers(len(_MISSING)))]
    return command, given.split()


def wrong_group(rng: np.random.Generator) -> Misuse:
    group = str(rng.choice(_GROUPS))
    command = {"simulation": "simulate", "suite": "bench"}.get(group, "train")
    return command, [*_REST[command], f"{group}={rng.choice(['nothing', 'thesi', '3', 'null', '../data/mmia'])}"]


def wrong_class(rng: np.random.Generator) -> Misuse:
    return "train", [f"{rng.choice(_TARGET_PLACES)}._target_={rng.choice(_TARGETS)}"]


_KINDS: tuple[tuple[Callable[[np.random.Generator], Misuse], float], ...] = (
    *((wrong_setting, 0.45), (misspelt_setting, 0.15), (wrong_syntax, 0.1), (wrong_file, 0.15), (wrong_group, 0.08)),
    (wrong_class, 0.07),
)


def prepare(seed: int, folder: Path) -> Callable[[int], Case]:
    return partial(run_case, seed)


def run_case(seed: int, number: int) -> Case:
    """Run a command that cannot be run."""
    rng = np.random.default_rng([seed, 5, number])
    make = _KINDS[int(rng.choice(len(_KINDS), p=[share for _, share in _KINDS]))][0]
    command, given = make(rng)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "text.txt").write_text("no lightning here\n")
        done = run_command(command, *given, folder=folder, timeout_s=120)
        wrong = wrong_refusal(done) or _begun(folder)
    kind = make.__name__.replace("_", " ")
    return Case(kind, f"{command} {' '.join(given)}", "failed" if wrong else "refused", wrong or done.stderr.strip())


def _begun(folder: Path) -> str | None:
    """Name a file that a command has written, other than the settings and the log of a run."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    small = ("text.txt", "config.yaml")
    others = [path for path in files if path.suffix != ".log" and ".hydra" not in path.parts and path.name not in small]
    return f"has begun: wrote {', '.join(map(str, others[:3]))}" if others else None
