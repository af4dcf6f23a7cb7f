"""Damage what a trained run left: each file is refused in one line, or nothing becomes different."""

import csv
import json
import math
import pickle
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asim_cvae.base.errors import InputError
from asim_cvae.runs.pretrained import NEWEST, SHIPPED
from asim_cvae.triaging.reference import read_reference
from tests.exports import sign
from tests.faults.commands import run_command, wrong_refusal
from tests.faults.report import Case

_EPOCHS = 2
_CHECKPOINTS = ("checkpoints/last.ckpt", "checkpoints/previous.ckpt", "checkpoints/best.ckpt")

Damage = tuple[bytes, str]


class Run:
    """A trained run, and what it gives while it is unharmed.

    Args:
        folder: where archive, store and runs are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        archive = folder / "archive"
        _check(run_command("simulate", f"root={archive}", "observations=6", "labelled=4", "seed=3", folder=folder))
        train = ["+experiment=relu_lr2e-4", "data=mmia", f"data.root={archive}", "figures=null", "data.batch_size=20"]
        train += [f"data.ground_truth.table={archive / 'GroundTruth_Table.xlsx'}", f"data.store={folder / 'store'}"]
        train += [f"trainer.max_epochs={_EPOCHS}", f"hydra.run.dir={self.run}"]
        _check(run_command("train", *train, folder=folder))
        for name in ("heads.json", "heads.safetensors"):
            shutil.copy(SHIPPED / NEWEST / name, self.run)
        self.reference = read_reference(self.run)
        assert self.reference.model is not None
        self.frames = np.random.default_rng(0).uniform(0.0, 20.0, (2, 3, 5000)).astype(np.float32)
        self.encoded = {name: self.encode(self.run / name) for name in ("", *_CHECKPOINTS)}
        self.table = self.make_table(self.run)
        self.resumed: dict[str, Any] | None = None

    def encode(self, path: Path) -> list[np.ndarray]:
        """Load the model at ``path`` and give what it makes of the frames."""
        import torch

        from asim_cvae.inference import load

        torch.set_num_threads(1)
        model = load(path)
        told = [] if model.heads is None else [*model.recognize(self.frames)]
        return [*model.encode(self.frames), model.describe(self.frames), *told]

    def make_table(self, run: Path) -> tuple[int, str, str, str]:
        """Put a run beside the unharmed one, and give status, output and the rows of the command ``table``."""
        with tempfile.TemporaryDirectory() as place:
            runs = Path(place)
            for name, source in (("healthy", self.run), ("other", run)):
                (runs / name).mkdir()
                for file in ("scores.json", "config.yaml"):
                    shutil.copy(source / file, runs / name)
            healthy = json.loads((runs / "healthy" / "scores.json").read_text())
            sign(runs / "healthy" / "scores.json", healthy | {"seed": 1})  # a run of its own
            done = run_command("table", f"runs={runs}", "reference=null", folder=runs)
            rows = "".join(path.read_text() for path in sorted(runs.glob("*table1.md")))
        return done.returncode, done.stdout.replace(place, ""), done.stderr.replace(place, ""), rows

    def resume(self, run: Path) -> tuple[Any, dict[str, Any]]:
        """Train a run for one epoch more, and give the command and what it left."""
        done = run_command("train", f"resume={run}", f"trainer.max_epochs={_EPOCHS + 1}", folder=run.parent)
        left = {name: (run / name).read_bytes() for name in ("model.safetensors",) if (run / name).is_file()}
        return done, left


def _check(done: Any) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def prepare(seed: int, folder: Path) -> Callable[[int], Case]:
    """Train the run; what is returned damages a copy of a file of it."""
    return partial(run_case, seed, Run(folder))


def run_case(seed: int, run: Run, number: int) -> Case:
    """Damage one file of the run, and use it."""
    rng = np.random.default_rng([seed, 4, number])
    name, use = _USES[number % len(_USES)]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "run"
        shutil.copytree(run.run, copy, ignore=None if use is _use_resume else _what_score_needs)
        path = copy / (str(rng.choice(_CHECKPOINTS)) if name == "checkpoints" else name)
        marker = Path(place) / "marker"
        content, told = _damage(path, rng, marker)
        original = path.read_bytes()
        path.write_bytes(content)
        kind = f"{name}: {use.__name__.removeprefix('_use_')}"
        outcome, detail = use(run, copy, path, original)
        if marker.exists():
            outcome, detail = "failed", "the file's code was run"
    return Case(kind, f"{path.name}: {told}", outcome, detail)


def _what_score_needs(folder: str, names: list[str]) -> set[str]:
    keep = {
        "heads.json",
        "heads.safetensors",
        "reference.json",
        "model.json",
        "model.safetensors",
        "scores.json",
        "config.yaml",
        "metrics.csv",
        "checkpoints",
        "last.ckpt",
    }
    return {name for name in names if name not in keep and not name.endswith(".ckpt")}


# --- damage -------------------------------------------------------------------------------------------------------


class _Evil:
    """What runs code when it is unpickled: it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.marker,)  # type: ignore[return-value]


def _damage(path: Path, rng: np.random.Generator, marker: Path) -> Damage:
    content = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.75:
        return damage_json(content, rng)
    if path.suffix == ".yaml" and rng.random() < 0.6:
        return _damage_yaml(content, rng, marker)
    if path.suffix == ".csv" and rng.random() < 0.5:
        return _damage_csv(content, rng)
    if path.suffix == ".safetensors" and rng.random() < 0.6:
        return _damage_safetensors(content, rng)
    if path.suffix == ".ckpt" and rng.random() < 0.15:
        return pickle.dumps(_Evil(marker)), "a pickle that runs code"
    return damage_bytes(content, rng)


def damage_bytes(content: bytes, rng: np.random.Generator) -> Damage:
    """Damage any file."""
    place, size = int(rng.integers(len(content))), len(content)
    kind = int(rng.integers(8))
    if kind == 0:
        return content[:place], f"cut to {place} of {size} bytes"
    if kind == 1:
        return b"", "empty"
    if kind == 2:
        return bytes(size), "zeros"
    if kind == 3:
        return content[:place] + bytes(8) + content[place + 8 :], f"8 zeros at {place}"
    if kind == 4:
        return rng.bytes(int(rng.integers(1, 1000))), "random bytes"
    if kind == 5:
        return content + b"\0" * 7, "7 bytes appended"
    if kind == 6:
        return content[:place] + content[place + 3 :], f"3 bytes deleted at {place}"
    bit = int(rng.integers(8))
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[
        place + 1 :
    ], f"bit {bit} of {place} flipped"


_ABSURD: tuple[Any, ...] = (
    None,
    "",
    "text",
    -1,
    0,
    1e308,
    10**12,
    -0.5,
    [],
    {},
    True,
    [[]],
    {"a": 1},
    "os.system",
    2.5,
)
_DOCUMENTS = (
    b"[]",
    b"{}",
    b"null",
    b"3",
    b'"x"',
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff\xfe{}",
    b"{'a': 1}",
)


def damage_json(content: bytes, rng: np.random.Generator) -> Damage:
    """Damage a JSON document, which mostly stays one."""
    if rng.random() < 0.15:
        document = _DOCUMENTS[int(rng.integers(len(_DOCUMENTS)))]
        return document, f"{document[:12]!r}"
    document = json.loads(content)
    holder, key, where = _pick(document, rng)
    if rng.random() < 0.3:
        del holder[key]
        return json.dumps(document).encode(), f"{where} deleted"
    value = _ABSURD[int(rng.integers(len(_ABSURD)))]
    if rng.random() < 0.1:
        value = [math.nan, math.inf][int(rng.integers(2))]
    holder[key] = value
    return json.dumps(document).encode(), f"{where} = {value!r}"


def _pick(document: Any, rng: np.random.Generator) -> tuple[Any, Any, str]:
    """Choose a place in a document: what holds it, its key, and its name."""
    where = ""
    holder: Any = document
    while True:
        key = (
            list(holder)[int(rng.integers(len(holder)))] if isinstance(holder, dict) else int(rng.integers(len(holder)))
        )
        where = f"{where}.{key}" if where else str(key)
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.25:
            return holder, key, where
        holder = inner


_HOSTILE = (
    "torch.load",
    "os.system",
    "builtins.open",
    "subprocess.Popen",
    "asim_cvae.nope.Network",
    "",
    "torch.nn.Linear",
    3,
)


def _damage_yaml(content: bytes, rng: np.random.Generator, marker: Path) -> Damage:
    import yaml

    if rng.random() < 0.1:
        text = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{marker}']]"
        return text.encode(), "YAML that runs code"
    document = yaml.safe_load(content)
    if rng.random() < 0.3:
        group = str(rng.choice(["data", "model", "trainer", "representation"]))
        target = _HOSTILE[int(rng.integers(len(_HOSTILE)))]
        document[group]["_target_"] = target
        return yaml.safe_dump(document).encode(), f"{group}._target_ = {target!r}"
    holder, key, where = _pick(document, rng)
    if rng.random() < 0.3:
        del holder[key]
        return yaml.safe_dump(document).encode(), f"{where} deleted"
    value = [*_ABSURD, "${oc.env:HOME}", "${nope}", "???"][int(rng.integers(len(_ABSURD) + 3))]
    holder[key] = value
    return yaml.safe_dump(document).encode(), f"{where} = {value!r}"


def _damage_csv(content: bytes, rng: np.random.Generator) -> Damage:
    rows = list(csv.reader(content.decode().splitlines()))
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    value = str(rng.choice(["", "nan", "x", "-1", "1e400", "0"]))
    rows[row][column] = value
    return "\n".join(",".join(cells) for cells in rows).encode(), f"row {row}, column {column} = {value!r}"


def _damage_safetensors(content: bytes, rng: np.random.Generator) -> Damage:
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.3:
        new = int(rng.choice([0, 1, size - 1, size + 1, 2**31, 2**62]))
        return new.to_bytes(8, "little") + content[8:], f"header of {new} bytes"
    if rng.random() < 0.3:
        place = 8 + size + 4 * int(rng.integers((len(content) - 8 - size) // 4))
        value = np.float32(rng.choice([np.nan, np.inf, -np.inf])).tobytes()
        return content[:place] + value + content[place + 4 :], f"weight {np.frombuffer(value, '<f4')[0]} at {place}"
    header = json.loads(content[8 : 8 + size])
    name = str(rng.choice(sorted(set(header) - {"__metadata__"})))
    how = int(rng.integers(5))
    if how == 0:
        del header[name]
    elif how == 1:
        header["another.name"] = header.pop(name)
    elif how == 2:
        header[name]["shape"] = [1, *header[name]["shape"]]
    elif how == 3:
        header[name]["dtype"] = str(rng.choice(["F16", "I32", "X9"]))
    else:
        header[name]["data_offsets"] = [0, int(rng.choice([4, 2**40, -1]))]
    new = json.dumps(header).encode()
    changed = len(new).to_bytes(8, "little") + new + content[8 + size :]
    return changed, f"{name}: {('deleted', 'renamed', 'shape', 'type', 'place')[how]}"


# --- use ----------------------------------------------------------------------------------------------------------


def _use_load(run: Run, copy: Path, path: Path, original: bytes) -> tuple[str, str]:
    """Load a model by the Python interface."""
    name = str(path.relative_to(copy)) if path.suffix == ".ckpt" else ""
    try:
        encoded = run.encode(copy / name)
    except InputError as error:
        return _refusal(error, path)
    except Exception as error:
        return "failed", f"raised {type(error).__name__}: {error!s:.300}"
    if all(np.array_equal(ours, theirs) for ours, theirs in zip(encoded, run.encoded[name], strict=True)):
        return "same", ""
    if not all(np.isfinite(array).all() for array in encoded):
        return "failed", "encodes to values that are not finite"
    if _could_be_meant(original, path):
        return "same", "another value, which could be meant"
    return "failed", "encodes otherwise than the unharmed model"


def _use_table(run: Run, copy: Path, path: Path, original: bytes) -> tuple[str, str]:
    """Make the table of the damaged run and of a healthy one."""
    status, stdout, stderr, rows = run.make_table(copy)
    if status or "Traceback" in stdout + stderr:
        return "failed", f"the table of a healthy run is not made: exit status {status}: {stderr.strip()[-300:]}"
    if (status, rows) == (0, run.table[3]):
        return "same", ""
    if "excluded: /other" in stdout + stderr:
        return "refused", ""
    if _could_be_meant(original, path):
        return "same", "another value, which could be meant"
    return "failed", f"another table: {stdout[-400:]}"


def _use_reference(run: Run, copy: Path, path: Path, original: bytes) -> tuple[str, str]:
    """Read what frames usually look like, as a triage does."""
    try:
        reference = read_reference(copy)
    except InputError as error:
        return _refusal(error, path)
    except Exception as error:
        return "failed", f"raised {type(error).__name__}: {error!s:.300}"
    return ("same", "") if reference == run.reference else ("failed", "another reference")


def _refusal(error: InputError, path: Path) -> tuple[str, str]:
    if "\n" in str(error) or path.name.split(".")[0] not in str(error):
        return "failed", f"no line that names the file: {error!s:.300}"
    return "refused", ""


def _use_resume(run: Run, copy: Path, path: Path, original: bytes) -> tuple[str, str]:
    """Train on, which ends in the same weights as without the damage."""
    if run.resumed is None:
        with tempfile.TemporaryDirectory() as place:
            shutil.copytree(run.run, Path(place) / "run")
            done, run.resumed = run.resume(Path(place) / "run")
            _check(done)
    done, left = run.resume(copy)
    if done.returncode:
        wrong = wrong_refusal(done)
        return ("failed", wrong) if wrong else ("refused", "")
    if "Traceback" in done.stdout + done.stderr:
        return "failed", f"a traceback: {done.stderr[-300:]}"
    if left == run.resumed:
        return "same", ""
    if path.suffix == ".yaml" and (_could_be_meant(original, path) or "ends without scores" in done.stdout):
        return "same", "another value, which could be meant"
    return "failed", f"ends in other weights: {done.stdout[-300:]}"


_USES: Sequence[tuple[str, Callable[..., tuple[str, str]]]] = (
    *(("model.json", _use_load), ("model.safetensors", _use_load), ("scores.json", _use_table)),
    *(("checkpoints", _use_load), ("config.yaml", _use_table), ("model.json", _use_load), ("scores.json", _use_table)),
    *(("reference.json", _use_reference), ("reference.json", _use_reference)),
    *(("model.safetensors", _use_load), ("model.json", _use_load), ("checkpoints", _use_resume)),
    *(("model.json", _use_load), ("model.safetensors", _use_load), ("scores.json", _use_table)),
    *(("checkpoints", _use_load), ("model.json", _use_load), ("config.yaml", _use_resume), ("scores.json", _use_table)),
    *(("model.safetensors", _use_load), ("config.yaml", _use_table), ("metrics.csv", _use_resume)),
    *(("heads.json", _use_load), ("heads.safetensors", _use_load), ("heads.json", _use_load)),
)
"""Files, and what is done with them once they are damaged; case after case."""


def _could_be_meant(original: bytes, path: Path) -> bool:
    """Tell whether a damaged file differs by values that it could as well have had: nobody can notice that."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        size = int.from_bytes(original[:8], "little") + 8
        return content[:size] == original[:size] and len(content) == len(original)
    try:
        if path.suffix == ".yaml":
            import yaml

            return _alike(yaml.safe_load(original), yaml.safe_load(content))
        if path.suffix == ".json":
            return _alike(json.loads(original), json.loads(content))
    except (ValueError, yaml.YAMLError, RecursionError):
        return False
    return False


def _alike(old: Any, new: Any) -> bool:
    """Tell whether two documents have the same form, with values of the same kind and of no absurd size."""
    if isinstance(old, dict):
        return isinstance(new, dict) and old.keys() == new.keys() and all(_alike(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(_alike, old, new))
    if isinstance(old, bool) or old is None:
        return new is None or isinstance(new, bool) if isinstance(old, bool) else True
    if isinstance(old, int | float):
        number = isinstance(new, int | float) and not isinstance(new, bool) and math.isfinite(new)
        whole = isinstance(old, float) or isinstance(new, int)
        return number and whole and (old < 0 or new >= 0) and abs(new) <= 1000 * max(1.0, abs(old))
    return isinstance(new, str)
