"""The package as it is installed: what its wheel holds, which commands it lists, which versions its changelog names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import asim_cvae
from asim_cvae.frames.hdf import FORMAT
from asim_cvae.settings.schema import CONF
from asim_cvae.simulator.archive import SIMULATOR
from tests.conftest import PROJECT

pytestmark = pytest.mark.processes


def _run(*command: object, folder: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def _listed(page: str) -> dict[str, str]:
    """The commands on the page of ``python -m asim_cvae`` and their descriptions."""
    return dict(re.findall(r"^  ([a-z_]+) {2,}(\S.*)$", page, re.MULTILINE))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel, built from a copy of the sources, is installed without its dependencies."""
    place = tmp_path_factory.mktemp("package")
    sources, wheels, target = place / "sources", place / "wheels", place / "target"
    for folder in ("asim_cvae", "conf"):
        shutil.copytree(PROJECT / folder, sources / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(PROJECT / file, sources)
    pip = ("-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
    offline = ("--no-index", "--no-deps")
    _run(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", wheels, sources, folder=place)
    _run(*pip, "install", *offline, "--target", target, *wheels.iterdir(), folder=place)
    return target


def test_the_wheel_runs_in_any_folder_and_leaves_the_home_folder_alone(installed: Path, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(mode=0o500)
    folder.mkdir()
    place = {"PYTHONPATH": str(installed), "HOME": str(home)}
    page = _run("-m", "asim_cvae", folder=folder, **place).stdout
    assert _listed(page)["train"].startswith("train, score and draw one experiment")
    config = _run("-m", "asim_cvae.train", "--cfg", "job", "+experiment=relu_lr2e-4", folder=folder, **place).stdout
    assert "_target_: asim_cvae.data.datamodule.MMIADataModule" in config
    assert "lr: 0.0002" in config
    sources = ("--cfg", "hydra", "--package", "hydra.runtime.config_sources")
    script = _run(installed / "bin" / "asim-cvae", "train", *sources, folder=folder, **place).stdout
    assert f"path: {installed / 'asim_cvae' / 'conf'}\n" in script
    for name in ("py.typed", "triaging/chance.json", "pretrained/events-1/reference.json"):
        assert (installed / "asim_cvae" / name).exists()
    assert (installed / f"asim_cvae-{asim_cvae.__version__}.dist-info").is_dir()
    assert not list(home.iterdir())
    assert not list(folder.iterdir())


def test_the_clone_lists_every_command() -> None:
    package = Path(asim_cvae.__file__).parent
    modules = {path.stem for path in CONF.glob("*.yaml") if (package / f"{path.stem}.py").exists()}
    assert {"simulate", "prepare", "train", "score"} <= modules
    listed = _listed(_run("-m", "asim_cvae", folder=PROJECT).stdout)
    assert listed.keys() == modules
    assert all(description[0].islower() and "`" not in description for description in listed.values())


@pytest.mark.parametrize(
    ("name", "advice"),
    [("trian", "did you mean train?"), ("simulation", "did you mean simulate?"), ("x", "the commands are ")],
)
def test_a_misspelt_command_is_one_line(name: str, advice: str) -> None:
    done = _run("-m", "asim_cvae", name, folder=PROJECT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"asim-cvae: there is no command {name}; {advice}")
    assert done.stderr.count("\n") == 1


def test_listing_commands_imports_none() -> None:
    listed = "import sys; from asim_cvae.__main__ import usage; usage(); print(*sys.modules)"
    assert not {"torch", "hydra", "numpy"} & set(_run("-c", listed, folder=PROJECT).stdout.split())


def test_the_changelog_names_the_versions_that_are_made() -> None:
    newest = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    assert f"simulator `{SIMULATOR}`" in newest
    assert f"frame store format {FORMAT}" in newest
