"""Settings: declared once, checked before anything begins, and described in --help and docs/settings.md."""

import errno
import importlib
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from asim_cvae.base.errors import SettingError, did_you_mean
from asim_cvae.runs.settings import INCIDENTAL
from asim_cvae.settings.mistakes import explain
from asim_cvae.settings.pages import settings_page
from asim_cvae.settings.places import check_targets
from asim_cvae.settings.quoting import pasteable
from asim_cvae.settings.schema import CONF, Section, Setting, check_config, declared_settings, lacking_names
from tests.conftest import PROJECT

COMMANDS = list(declared_settings())
SOURCE = "\n".join(path.read_text() for path in (PROJECT / "asim_cvae").rglob("*.py"))


def _config(command: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose(command, list(overrides)), resolve=True)


def _configs(command: str) -> Iterator[dict[str, Any]]:
    """The command's configuration with each choice of each of its groups."""
    yield _config(command)
    for group in declared_settings()[command].groups:
        for path in (CONF / group).glob("*.yaml"):
            if group not in ("experiment", "hydra/launcher"):
                yield _config(command, f"{group}={path.stem}")


def _flat(config: dict[str, Any], section: Section, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of all settings, each with the group that holds it; a setting that is a mapping is one."""
    for key, value in config.items():
        entry = section.entries.get(key)
        if isinstance(value, dict) and not isinstance(entry, Setting):
            yield from _flat(value, entry or Section({}), f"{prefix}{key}.")
        elif not key.startswith("_") and not (value is None and isinstance(entry, Section)):
            yield f"{prefix}{key}", config


@pytest.mark.parametrize("command", COMMANDS)
def test_all_settings_are_declared_and_all_that_is_declared_is_used(command: str) -> None:
    section = declared_settings()[command]
    found = {name: group for config in _configs(command) for name, group in _flat(config, section)}
    assert set(found) == {name for name, _ in section.settings()}
    for name, group in found.items():
        key = name.rpartition(".")[2]
        if "_target_" in group and "." in name:
            module, _, cls = group["_target_"].rpartition(".")
            assert key in inspect.signature(getattr(importlib.import_module(module), cls)).parameters, name
        else:
            assert re.search(rf"\.{key}\b|\"{key}\"", SOURCE), name


@pytest.mark.parametrize("command", COMMANDS)
def test_shipped_values_are_allowed(command: str) -> None:
    section = declared_settings()[command]
    for config in _configs(command):
        lacking = {name for name, value in config.items() if value == "???"}
        given = {
            name: ["given"] if setting.type.startswith("list") else "given"
            for name, setting in section.settings()
            if name in lacking
        }
        check_config(section, config | given)
        assert lacking_names(section, config) == []


def test_settings_named_elsewhere_are_declared() -> None:
    names = {name for name, _ in declared_settings()["train"].settings()}
    assert {name for name in INCIDENTAL if not name.endswith("_")} <= names


@pytest.mark.parametrize(
    ("command", "override", "told"),
    [
        ("train", "seed=-1", "seed=-1: has to be a whole number from 0 to 1000000000"),
        ("train", "seed=1.0", "seed=1.0: has to be a whole number from 0 to 1000000000"),
        ("train", "seed=true", "seed=True: has to be a whole number from 0 to 1000000000"),
        ("train", "seed=null", "seed=None: has to be a whole number from 0 to 1000000000"),
        ("train", "model.optimizer.lr=nan", "model.optimizer.lr=nan: has to be a number, above 0"),
        ("train", "model.optimizer.lr=0", "model.optimizer.lr=0: has to be a number, above 0"),
        ("train", "model.optimizer.lr=inf", "model.optimizer.lr=inf: has to be a number, above 0"),
        ("train", "model.beta.share=2", "model.beta.share=2: has to be a number from 0 to 1"),
        ("train", "model.network.dropout=1", "model.network.dropout=1: has to be a number, 0 or more and below 1"),
        ("train", "data.cache=memry", "data.cache=memry: has to be one of auto, device, memory, store; "
                                       "did you mean memory?"),
        ("train", "data.batch_size=ten", "data.batch_size=ten: has to be a whole number from 1 to 100000"),
        ("train", "data.simulation=small", "data.simulation=small: has to be a group of settings, such as "),
        ("train", "tf32=1", "tf32=1: has to be true or false"),
        ("train", "model.learning_rate=fast", "model.learning_rate=fast: has to be a mapping, or null"),
        ("train", "resume=2024", "resume=2024: has to be a path, or null; quote it, as 'resume=\"2024\"'"),
        ("train", "+experimnt=baseline", "experimnt: no such setting; did you mean experiment?"),
        ("train", "+data.batchsize=3", "data.batchsize: no such setting; did you mean batch_size?"),
        ("train", "+data.seed=3", "data.seed: no such setting; --help lists them"),
        ("train", "+width=3", "width: no such setting; --help lists them"),
        ("train", "+callbacks.helth=null", "callbacks.helth: no such setting; did you mean health?; "
                                           "callbacks.helth._target_=PACKAGE.MODULE.CLASS adds one"),
        ("train", "~seed", "seed has to be given: Seed of all random numbers"),
        ("train", "~model.network._target_", "model.network: has to name a class, as model.network._target_="),
        ("realism", "+seed=3", "seed: no such setting; did you mean seeds?"),
        ("realism", "+faults=0.1", "faults: no such setting; --help lists them"),
        ("score", "out=x", "weights has to be given: "),
        ("simulate", "level=2", "level=2: has to be one of 0, 1"),
        ("realism", "labelled=1", "labelled=1: has to be a whole number, 2 or more"),
        ("realism", "seeds=[1,-1]", "seeds=[1, -1]: has to be a list of whole numbers, 0 or more"),
        ("realism", "seeds=[]", "seeds=[]: has to be a list of whole numbers, 0 or more"),
        ("realism", "seeds=3", "seeds=3: has to be a list of whole numbers, 0 or more"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named_with_what_is(command: str, override: str, told: str) -> None:
    with pytest.raises(SettingError) as error:
        check_config(declared_settings()[command], _config(command, override))
    assert str(error.value).startswith(told)


def test_settings_of_a_user_s_own_are_passed_on() -> None:
    own = ("+trainer.limit_val_batches=2", "+model.network.kernel=7", "model.network._target_=mine.Network",
           "+model.optimizer.betas=x", "+callbacks.mine._target_=mine.Callback",
           "callbacks.health=null")  # fmt: skip
    check_config(
        declared_settings()["train"], _config("train", *own, "data.simulation=null", "model.learning_rate={a: 1}")
    )


def test_ends_of_ranges() -> None:
    reached = Setting("float", "", min=0, max=1)
    beyond = Setting("float", "", above=0, below=1)
    for value, within, between in ((0, True, False), (0.5, True, True), (1, True, False), (1.1, False, False)):
        assert (reached.takes(value), beyond.takes(value)) == (within, between)
    assert Setting("int", "", max=3).allowed == "a whole number, 3 at most"
    assert Setting("list[str]", "", empty=True).takes([])


def test_the_nearest_name() -> None:
    names = ["trainer.max_epochs", "model.optimizer.lr", "data"]
    assert did_you_mean("lr", names) == "; did you mean model.optimizer.lr?"
    assert did_you_mean("trainr.max_epoch", names) == "; did you mean trainer.max_epochs?"
    assert did_you_mean("dat", names, 0.9) == did_you_mean("xyz", names) == ""


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.optimizer.lrr=1", "model.optimizer.lrr=1: no such setting; did you mean model.optimizer.lr? "
                                  "(+model.optimizer.lrr=1 hands it to the class)"),
        ("trainer.strategy=ddp", "trainer.strategy=ddp: write +trainer.strategy=ddp, with a plus"),
        (
            "+experiment=ablation/thesis_endz",
            "experiment=ablation/thesis_endz: no such choice; did you mean ablation/thesis_ends?",
        ),
        ("+experiment=relu_lr2e4", "experiment=relu_lr2e4: no such choice; did you mean relu_lr2e-4?"),
        ("data=simulate", "data=simulate: no such choice; did you mean simulated?"),
        ("data=x", "data=x: no such choice: one of mmia, simulated, simulated_evaluation, simulated_full, "
                   "simulated_promise, simulated_randomised, simulated_rare, simulated_shifted"),
        ("experiment=baseline", "experiment=baseline: write +experiment=baseline, with a plus"),
        ("+scoring=thesis", "scoring is chosen already: write scoring=NAME, without a plus"),
        ("+representation=log", "representation is chosen already: write representation=NAME, without a plus"),
        ("~scorin", "Could not delete from config. 'scorin' does not exist.; did you mean scoring?"),
        ("seed=[1", "seed=[1: cannot be read as a setting (no viable alternative at input '[1')"),
        ("seed=0;1", "seed=0;1: cannot be read as a setting"),
    ],
)  # fmt: skip
def test_what_hydra_refuses_is_told_in_one_line(override: str, told: str) -> None:
    with pytest.raises(HydraException) as error:
        _config("train", override)
    assert explain(error.value, declared_settings()["train"]) == told


@pytest.mark.parametrize(
    ("command", "overrides", "told"),
    [
        ("train", ["trainr.max_epochs=2"], "trainr.max_epochs=2: no such setting; did you mean trainer.max_epochs?"),
        ("train", ["-m", "+experiment=relu_lr2e4,baseline"], "experiment=relu_lr2e4: no such choice; did you mean "
                                                             "relu_lr2e-4?"),
        ("train", ["data.batch_size=0"], "data.batch_size=0: has to be a whole number from 1 to 100000"),
        ("train", ["seed=0,1"], "seed=0,1: several values are a sweep, which takes -m; a list is written in brackets, "
                                "as [A,B]"),
        *(
            ("train", given, "experiment: a run has one; -m +experiment=NAME,NAME trains several, one after the other")
            for given in (["+experiment=[baseline,events]"], ["+experiment=baseline", "experiment=events"])
        ),
        ("bench", ["parts=[trainng]"], "parts=['trainng']: trainng is not one of training, encoding, files, triage, "
                                       "epochs, startup, growth; did you mean training?"),
    ],
)  # fmt: skip
def test_a_mistyped_command_ends_in_one_line(
    run, tmp_path: Path, command: str, overrides: list[str], told: str
) -> None:
    refused = _refused(run, tmp_path, command, *overrides)
    assert refused == f"{command}: {told}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("trainer: {max_epochs: 3}\n", 'experiment: its YAML file lacks "# @package _global_" as its first line'),
        ("# @package _global_\ntrainer: {max_epochs: 3\n", "mine.yaml"),
    ],
    ids=["package", "syntax"],
)
def test_a_faulty_experiment_file_ends_in_one_line(run, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(content)
    refused = _refused(run, tmp_path, "train", "--config-dir", tmp_path / "conf", "+experiment=mine")
    assert refused.startswith("train: ")
    assert told in refused


@pytest.mark.parametrize("flags", [["--experiment", "events"], ["--multi"], ["--experimental-rerun", "x"]])
def test_flags_are_given_whole(run, flags: list[str]) -> None:
    done = run("train", *flags, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("train: error: ")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_told() -> None:
    full = OSError(errno.ENOSPC, "Can't close file (file write failed: time = 0)")
    assert explain(full, declared_settings()["train"]) == "no space left on the disk; make room, and try again"


def _refused(run, folder: Path, command: str, *overrides: object) -> str:
    """The line with which a command refuses settings; it leaves nothing behind."""
    place = folder / "made"
    places = {"train": [f"hydra.run.dir={place}", f"hydra.sweep.dir={place}"], "simulate": [f"root={place}"]}
    done = run(command, *overrides, *places.get(command, [f"out={place}"]), check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert not place.exists()
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+trainer.max_epoch=2", "trainer.max_epoch: no such argument of Trainer; did you mean max_epochs?"),
        ("+trainer.logger=false", "trainer.logger: is given by the program itself, and cannot be set"),
        ("+model.optimizer.params=[]", "model.optimizer.params: is given by the program itself, and cannot be set"),
        ("+model.network.width=3", "model.network.width: no such argument of ThesisNetwork"),
        ("+callbacks.health.x=3", "callbacks.health.x: no such argument of TrainingHealth"),
        ("~model.network", "model.network has to be given: an argument of CVAEModule"),
        ("model.learning_rate={_target_: asim_cvae.model.schedules.OneCycle, riser: 3}",
         "model.learning_rate.riser: no such argument of OneCycle; did you mean rise?"),
    ],
)  # fmt: skip
def test_arguments_that_a_class_does_not_take_are_named(override: str, told: str) -> None:
    with pytest.raises(SettingError) as error:
        check_targets(OmegaConf.create(_config("train", override)), (), declared_settings()["train"])
    assert str(error.value) == told


def test_arguments_that_a_class_takes_pass() -> None:
    taken = ("+trainer.limit_val_batches=2", "+model.optimizer.weight_decay=0.1", "~callbacks.health")
    check_targets(OmegaConf.create(_config("train", *taken)), (), declared_settings()["train"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+trainer.max_epoch=2", "trainer.max_epoch: no such argument of Trainer; did you mean max_epochs?"),
        ("+model.optimizer.betas=[2,2]", "model.optimizer: Invalid beta parameter at index 0: 2"),
        ("representation.low=0.999999", "representation: low=0.999999, high=0.99999, full_scale=210.0: must be "
                                        "0 < low < high < 1 and full_scale > 0"),
        ("representation=counts", "model: ThesisNetwork: encode fails on two frames (frames have to be (B, 3, 5000), "
                                  "not (2, 3, 1000))"),
        ("data.root=/nowhere", "data.root=/nowhere: no such folder; give one that holds MMIA files (.fits or .cdf)"),
        ("data.ground_truth.table=/nowhere.csv", "data.ground_truth.table=/nowhere.csv: no such file, or folder of "
                                                 "journals; null for files without labels"),
        ("resume=/nowhere", "resume=/nowhere: hydra.run.dir="),
        ("name=mine", "name=mine: a run of an experiment has its name, relu_lr2e-4; leave one of them out"),
    ],
)  # fmt: skip
def test_what_fits_no_class_or_folder_is_refused_before_anything_is_written(
    run, arguments: list[str], tmp_path: Path, override: str, told: str
) -> None:
    assert _refused(run, tmp_path, "train", *arguments, override).startswith(f"train: {told}")


def test_a_misspelt_name_in_a_file_of_one_s_own_is_refused(run, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ntrainr: {max_epochs: 800}\n")
    refused = _refused(run, tmp_path, "train", "--config-dir", tmp_path, "+experiment=mine")
    assert refused == "train: trainr: no such setting; did you mean trainer?"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.accelerator=gpu"], "trainer.accelerator=gpu, trainer.devices=1: No supported gpu backend found!"),
        (["trainer.accelerator=gpu", "trainer.devices=2"], "trainer.accelerator=gpu, trainer.devices=2: No supported "),
        (["trainer=ddp", "trainer.devices=2"], "trainer.accelerator=auto, trainer.devices=2: there is no GPU here; "
                                               "trainer.accelerator=cpu takes several processes of the CPU"),
        (["trainer.devices=none"], "trainer.accelerator=auto, trainer.devices=none: `devices` selected with "),
    ],
)  # fmt: skip
def test_devices_that_are_not_there_are_refused(
    run, arguments: list[str], tmp_path: Path, overrides: list[str], told: str
) -> None:
    assert _refused(run, tmp_path, "train", *arguments, *overrides).startswith(f"train: {told}")


def test_a_sweep_with_a_setting_that_cannot_be_used_does_not_begin(run, arguments: list[str], tmp_path: Path) -> None:
    refused = _refused(run, tmp_path, "train", "-m", *arguments, "model.beta.share=0.2,2")
    assert refused == "train: model.beta.share=2: has to be a number from 0 to 1"
    resumed = _refused(run, tmp_path, "train", "-m", *arguments, f"resume={tmp_path}", "seed=0,1")
    assert resumed == "train: resume: not in a sweep; the same sweep goes on in its folder by hydra.sweep.dir=FOLDER"


def test_other_folders_than_a_simulated_archive_s_are_for_data_mmia(run, archive: Path, tmp_path: Path) -> None:
    own = tmp_path / "own files"
    own.mkdir()
    (own / "notes.txt").touch()
    refused = _refused(run, tmp_path, "train", f"data.root={own}")
    assert refused == f"train: data.root={own}: holds no simulated archive; for files of your own add data=mmia"
    for typo in (tmp_path / "typo", "outputs/typo"):
        simulate = f"python -m asim_cvae.simulate root={typo} makes it"
        told = f"data.root={typo}: no simulated archive; {simulate}; data=mmia: files of your own"
        assert _refused(run, tmp_path, "train", f"data.root={typo}") == f"train: {told}"
        assert not (PROJECT / typo).exists()
    refused = _refused(run, tmp_path, "score", f"weights={archive / 'truth.csv'}", f"data.root={archive}")
    assert refused == (
        f"score: data.root={archive}: holds another simulated archive (observations is 12 there, not 1000); "
        "choose another folder or delete it; data=mmia uses it as it is"
    )
    done = run("simulate", f"root={archive}", "seed=3", "observations=12", "labelled=7", check=False)
    assert done.returncode == 2
    told = f"simulate: root={archive}: holds another simulated archive (labelled is 6 there, not 7)"
    assert done.stderr.startswith(told)


@pytest.mark.parametrize(
    ("command", "overrides", "told"),
    [
        ("train", ["model=null"], "model=null: has to be one of events, thesis"),
        ("train", ["=3"], "=3: cannot be read as a setting; its name is missing"),
        ("train", ["+hydra.job.nam=x"], "+hydra.job.nam=x: Hydra has no such setting; did you mean name?"),
        ("train", ["--fast"], "error: unrecognized arguments: --fast"),
        ("train", ["--run", "--multirun"], "error: --run and --multirun cannot be given together"),
        ("train", ["--config-dir", "/nowhere"], "--config-dir /nowhere: no such folder"),
        ("train", ["--config-name=x"], "Cannot find primary config 'x'. Check that it's in your config search path."),
        ("prepare", ["data.validation_fraction=1"], "data.validation_fraction=1: has to be a number, above 0 and "),
        ("prepare", ["+experiment=baseline"], "model: no such setting"),
        ("prepare", ["data=mmia"], "no data: give data.root=FOLDER, or "),
        ("prepare", ["data=mmia", "data.store=/nowhere"], "data.store=/nowhere: no such folder; give data."),
        ("train", ["data=mmia", "data.root=/tmp", "data.store=/etc/hostname"], "data.store=/etc/hostname: is or "),
        ("train", ["hydra.run.dir=/etc/hostname/run"], "hydra.run.dir=/etc/hostname/run: is or lies in a file; "),
        ("realism", ["out=/etc/hostname/x"], "out=/etc/hostname/x: has to be a folder, or a place for one"),
        ("score", ["weights=/nowhere"], "weights=/nowhere: no such weights; "),
        ("simulate", ["observations=0", "labelled=0"], "observations, labelled and seed must be 0 or more"),
        ("table", ["runs=/nowhere"], "runs=/nowhere: no such folder"),
        ("table", ["runs=/tmp", "reference=/nowhere"], "reference=/nowhere: no such folder; "),
        ("bench", ["+suite.folder=x"], "suite.folder: is given by the program itself, and cannot be set"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_exit_status_2(
    run, tmp_path: Path, command: str, overrides: list[str], told: str
) -> None:
    places = [] if command != "simulate" else [f"root={tmp_path / 'made'}"]
    done = run(command, *places, *overrides, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{command}: {told}")
    assert not (tmp_path / "made").exists()


AWKWARD = ("plain/path", "a b", "a=b", "it's", 'say "x"', "[a,b]", "{a: 1}", "(x)", "2024", "null", "a\\", 'a\\"b',
           "a${b}", "$HOME", "a,b", "~/x", "#1", "*", "a;b&c|d", "choice(1,2)", "\\\\", " a ", "ü")  # fmt: skip


@pytest.mark.processes
@pytest.mark.parametrize("text", AWKWARD)
def test_printed_commands_can_be_pasted(text: str) -> None:
    printed = pasteable("train", {"resume": text}).replace("python -m asim_cvae.train", "printf '%s\\n'", 1)
    shell = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, check=True)
    assert _config("train", shell.stdout[:-1])["resume"] == text


def test_plain_folders_are_printed_plainly() -> None:
    assert pasteable("train", {"resume": "/a/b_1.c-d"}) == "python -m asim_cvae.train resume=/a/b_1.c-d"


def test_help_shows_a_command_s_own_settings_and_groups(run) -> None:
    told = run("train", "--help", "+experiment=relu_lr5e-5").stdout
    for line in ("model.optimizer.lr=5e-05", "data.batch_size=100", "data=simulated", "trainer=default"):
        assert re.search(rf"^  {re.escape(line)}( |$)", told, re.M), line
    assert "Frames per training step on each device (a whole number from 1 to 100000)" in " ".join(told.split())
    assert "ddp, default" in told
    assert "suite" not in told
    assert "hydra.run" not in told
    assert max(map(len, told.splitlines())) <= 120
    swept = run("train", "--help", "-m", "data.batch_size=20,40").stdout
    assert re.search(r"^  data\.batch_size=20 ", swept, re.M)


def test_help_may_be_cut_short() -> None:
    command = f"{shlex.quote(sys.executable)} -m asim_cvae.prepare --help | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("Reads an archive into the frame store.\n", "")


@pytest.mark.processes
def test_help_imports_no_torch() -> None:
    script = (
        "import sys, asim_cvae.cli, importlib\n"
        f"for command in {COMMANDS}:\n"
        "    sys.argv = [command, '--help']\n"
        "    importlib.import_module(f'asim_cvae.{command}').main()\n"
        "sys.exit({'torch', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"python -m asim_cvae.{command}" in done.stdout for command in COMMANDS)


def test_the_page_of_settings_is_up_to_date() -> None:
    assert (PROJECT / "docs" / "settings.md").read_text() == settings_page(CONF), "make settings"
