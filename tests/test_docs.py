"""Code blocks of README and docs: Python runs, YAML and commands compose, make targets exist, links lead somewhere."""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from asim_cvae.base.files import write_npz
from asim_cvae.frames.build import build_store
from asim_cvae.frames.columns import SHARDS, TABLES, Column
from asim_cvae.frames.representation import LinearScaling
from asim_cvae.frames.store import FrameStore
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.pulses.columns import Column as PulseColumn
from asim_cvae.runs.contract import check_model
from asim_cvae.runs.export import describe_model, export_model
from asim_cvae.runs.thesis import THESIS_REPRESENTATION
from asim_cvae.settings.places import check_targets
from asim_cvae.settings.schema import CONF
from asim_cvae.triaging.columns import FRAMES, OBSERVATIONS, REJECTED
from tests.conftest import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _commands(program: str) -> list[list[str]]:
    """Arguments of each line of a shell block that calls ``program``; a backslash joins lines."""
    lines = [
        line for page in PAGES for block in _blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()
    ]
    return [shlex.split(line.removeprefix(program), comments=True) for line in lines if line.startswith(program)]


@pytest.mark.parametrize("arguments", _commands("python -m asim_cvae."), ids=" ".join)
def test_commands_compose(arguments: list[str]) -> None:
    command, *settings = arguments
    if "-m" in settings:  # the first job of a sweep
        swept = (re.sub(r"glob\([^)]*\)", "relu_lr2e-4", setting) for setting in settings if setting != "-m")
        settings = [re.sub(r"^([\w.+/]+=[^,\[{]+),.*", r"\1", setting) for setting in swept]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(command, settings)
    check_targets(config)


@pytest.mark.parametrize("arguments", _commands("make "), ids=" ".join)
def test_make_targets_exist(arguments: list[str]) -> None:
    assert re.search(rf"^{arguments[0]}:.*##", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of an untrained network, as far as the pages read it."""
    folder = tmp_path_factory.mktemp("run")
    module = CVAEModule(ThesisNetwork(), BetaLikelihood()).eval()
    run_info = {"experiment": "docs", "seed": 0, "epochs": 0, "restarts": 0}
    export_model(folder, describe_model(module, THESIS_REPRESENTATION, run_info), module, None)
    (folder / "scores.json").write_text(json.dumps({"purity": 0.5}))
    write_npz(folder / "latents.npz", {"description": np.zeros((2, 50)), "label": np.array(["N", "HCHA"])})
    return folder


@pytest.mark.parametrize("page", [PROJECT / "README.md", PROJECT / "docs" / "python.md"], ids=lambda page: page.name)
def test_python_runs(page: Path, run_folder: Path, archive: Path) -> None:
    values = {"flux": np.zeros((2, 3, 5000)), "FILE": next(archive.glob("*.fits"))}
    for block in _blocks(page, "python"):
        exec(re.sub(r"outputs/[\w.-]+/RUN", str(run_folder), block), values)
    assert len(values["mu"]) == len(values["flux"])
    assert values["told"].classes.shape == (len(values["flux"]), 5)
    if "noise" in values:
        assert values["shown"].shape == values["same"].shape == (7, 3, 5000)
        assert values["noise"].shape == (1, 50)


def test_the_store_is_read_as_its_page_shows(archive: Path, tmp_path: Path) -> None:
    build_store(tmp_path / "store", archive, ground_truth_table=archive / "GroundTruth_Table.xlsx")
    (code,) = _blocks(PROJECT / "docs" / "store.md", "python")
    assert set(re.findall(r"^import (\w+)", code, flags=re.MULTILINE)) == {"h5py", "numpy"}
    values: dict = {}
    exec(code.replace("outputs/stores/NAME", str(tmp_path / "store")), values)
    with FrameStore(tmp_path / "store") as store:
        rows = np.array([values["row"]])
        np.testing.assert_array_equal(values["flux"], store.frames(rows)[0])
        np.testing.assert_array_equal(values["counts"], store.counts(rows)[0])
        assert values["time"] == store.table.time[rows[0]]
        assert (values["file"], values["label"]) == (store.table.file[rows[0]], store.table.label[rows[0]])


@pytest.mark.parametrize("table", [*TABLES, "shards"])
def test_the_store_s_page_lists_its_columns(table: str) -> None:
    page = (PROJECT / "docs" / "store.md").read_text()
    listed = page.split(f"### {table}\n")[1].split("\n### ")[0]
    rows = [_column_row(column) for column in {**TABLES, "shards": SHARDS}[table]]
    assert [line for line in listed.splitlines() if line.startswith("| `")] == rows


@pytest.mark.parametrize(
    ("table", "columns"), [("observations", OBSERVATIONS), ("frames", FRAMES), ("rejected", REJECTED)]
)
def test_the_page_of_triage_lists_its_columns(table: str, columns: Sequence[PulseColumn]) -> None:
    page = (PROJECT / "docs" / "triage.md").read_text()
    listed = page.split(f"### {table}\n")[1].split("\n### ")[0]
    cells = [line.strip("| ").split(" | ") for line in listed.splitlines() if line.startswith("| `")]
    assert [(cell[0].strip("`"), cell[-1]) for cell in cells] == [(column.name, column.about) for column in columns]


def _column_row(column: Column) -> str:
    kind = {"U": "text", "M8[us]": "time", "?": "bool"}.get(column.type) or np.dtype(column.type).name
    shape = f" ({column.shape[0]})" if column.shape else ""
    missing = "" if column.missing is None else f"; {column.missing} where there is none"
    where = "; in the index alone" if column.only_index else ""
    return f"| `{column.name}` | {kind}{shape} | {column.about}{missing}{where} |"


def test_the_network_of_extending_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PROJECT / "docs" / "extending.md"
    (code,) = _blocks(page, "python")
    experiment, model, whole = (OmegaConf.create(block) for block in _blocks(page, "yaml"))
    made = ModuleType("strided")
    monkeypatch.setitem(sys.modules, "strided", made)
    exec(code, made.__dict__)
    for given in (model, whole.model):
        given.network._target_ = "strided.StridedNetwork"  # where the page would have put it, there is nothing
        config = OmegaConf.create({"model": given})
        check_targets(config, trust=["strided"])
        check_model(instantiate(config.model), LinearScaling(), trust=["strided"])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        default = compose("train")
    assert set(experiment) <= set(default)
    OmegaConf.set_struct(default, True)
    OmegaConf.merge(default, experiment)  # no key that the configuration lacks


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


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
