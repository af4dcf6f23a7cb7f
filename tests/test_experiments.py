"""Tests of the experiments' settings against the thesis's Table 1."""

import csv
from fractions import Fraction
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from asim_cvae.runs.sweeps import swept_settings
from asim_cvae.runs.thesis import load_thesis_weights
from asim_cvae.settings.schema import CONF

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml") if not path.stem.startswith("events"))


def _config(experiment: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"+experiment={experiment}"])


def test_all_ten_are_there_with_the_published_settings(reference: Path) -> None:
    with (reference / "thesis_table1.csv").open() as stream:
        published = list(csv.DictReader(stream))
    assert {row["experiment"] for row in published} <= set(EXPERIMENTS)
    for row in published:
        config = _config(row["experiment"])
        assert config.trainer.max_epochs == int(row["max_epochs"]), row
        assert config.model.beta.share == pytest.approx(float(Fraction(row["warmup"]))), row
        assert config.model.network.activation == row["activation"], row
        assert config.model.optimizer.lr == pytest.approx(float(row["lr"])), row


def test_their_networks_take_the_published_weights(reference: Path) -> None:
    with (reference / "thesis_table1.csv").open() as stream:
        for row in csv.DictReader(stream):
            published = load_thesis_weights(reference / "thesis_weights" / f"{row['weights']}.pth").network
            assert instantiate(_config(row["experiment"]).model.network).settings == published.settings


def test_folders_are_named_by_what_was_swept(tmp_path: Path) -> None:
    asked = ["+experiment=glob(*)", "seed=0,1", "trainer.max_epochs=4", "data.root=/a/b,/a/c", "+model.x=choice(1,2)",
             "~scoring"]  # fmt: skip
    OmegaConf.save({"hydra": {"overrides": {"task": asked}}}, tmp_path / "multirun.yaml")
    job = ["+experiment=baseline", "seed=1", "trainer.max_epochs=4", "data.root=/a/c", "+model.x=2", "~scoring"]
    assert swept_settings(str(tmp_path), job) == "model.x-2_data.root--a-c_seed-1"
    assert swept_settings(str(tmp_path), [*job, "drawn=3"]).endswith("_drawn-3_seed-1")  # chosen by a sweeper
    long = [swept_settings(str(tmp_path), [*job, f"drawn={'x' * 300}{end}"]) for end in "abab"]
    assert {len(name) for name in long} == {200}
    assert long[0] == long[2] != long[1] == long[3]
    assert long[0].startswith("model.x-2_data.root--a-c_drawn-xxx")
    OmegaConf.save({"hydra": {"overrides": {"task": ["+experiment=glob(*)"]}}}, tmp_path / "multirun.yaml")
    assert swept_settings(str(tmp_path), job[:1]) == ""


@pytest.mark.parametrize(
    ("experiment", "changed"),
    [
        ("thesis_ends", {}),
        ("thesis_ends_padding", {"padding": "replicate"}),
        ("thesis_ends_parameters", {"parameters_apart": True}),
        ("thesis_ends_photometers", {"photometers_apart": True}),
        ("thesis_ends_slicing", {}),
    ],
)
def test_an_ablation_changes_one_thing(experiment: str, changed: dict[str, object]) -> None:
    thesis, config = _config("relu_lr2e-4"), _config(f"ablation/{experiment}")
    settings = instantiate(config.model.network).settings
    none = {"photometers_apart": False, "parameters_apart": False, "padding": "zeros"}
    assert settings == {**none, "latent_dim": 50, "activation": "relu", **changed}
    assert [a._target_.rpartition(".")[2] for a in config.model.augmentations] == (
        ["CircularShift"] if experiment.endswith("slicing") else []
    )
    for name in ("likelihood", "optimizer", "beta", "learning_rate", "_target_"):
        assert config.model[name] == thesis.model[name], name


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_say_only_what_differs(experiment: str) -> None:
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        default = compose("train")
    ours = _config(experiment)
    for section in ("data", "representation", "scoring"):
        assert ours[section] == default[section]
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 2
