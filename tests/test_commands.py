"""Tests of the commands, run as a user runs them."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from asim_cvae.archive.layout import FileName
from asim_cvae.base.documents import unsigned
from asim_cvae.base.errors import InputError
from asim_cvae.figures.dashboard import thumbnail
from asim_cvae.runs.export import load_model
from asim_cvae.scoring.clusters import probe_macro_f1
from tests.exports import forge
from tests.mmia_files import NAME, level1, light, write_fits

SCORE_FIELDS = {
    *(
        "experiment",
        "seed",
        "epochs",
        "frames",
        "restarts",
        "device",
        "described_by",
        "data",
        "protocol",
        "clusters",
        "noise",
        "purity",
    ),
    *("classes_represented", "ari", "nmi", "probe_macro_f1", "active_units", "dead", "log_px", "kl", "saved"),
    "heads",
}
CLUSTER_FIELDS = {"clusters", "noise", "purity", "classes_represented", "ari", "nmi"}
PNG = b"\x89PNG"


def _scores(folder: Path) -> dict:
    return unsigned(json.loads((folder / "scores.json").read_text()))


def _figures(folder: Path) -> dict[str, Path]:
    figures = {path.stem: path for path in (folder / "figures").iterdir()}
    assert all(path.read_bytes().startswith(PNG) for path in figures.values())
    return figures


def _title(picture: Path) -> list[str]:
    with Image.open(picture) as image:
        return image.info["Title"].splitlines()


@pytest.fixture(scope="module")
def small(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that make a command use the small archive."""
    store = tmp_path_factory.mktemp("store") / "small"
    table = archive / "GroundTruth_Table.xlsx"
    return ["data=mmia", f"data.root={archive}", f"data.ground_truth.table={table}", f"data.store={store}"]


@pytest.fixture(scope="module")
def training(
    run, small: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Finished run of two epochs on the small archive: its folder, and the completed command."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = run(
        *("train", "+experiment=relu_lr2e-4", *small, "trainer.max_epochs=2", "data.batch_size=20"),
        f"hydra.run.dir={folder}",
        fresh=True,
    )
    return folder, done


@pytest.fixture(scope="module")
def trained(training: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """Folder of that run."""
    return training[0]


def test_the_run_folder_is_complete(trained: Path) -> None:
    expected = {
        "config.yaml",
        "checkpoints",
        "model.safetensors",
        "model.json",
        "reference.json",
        "scores.json",
        "latents.npz",
        "figures",
    }
    assert expected | {"metrics.csv", "train.log", ".hydra"} <= {path.name for path in trained.iterdir()}
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert list(trained.glob("events.out.tfevents.*"))
    assert not list(trained.rglob(".partial*"))


def test_scores_are_of_all_labelled_frames(trained: Path, archive: Path) -> None:
    scores = _scores(trained)
    assert set(scores) == SCORE_FIELDS
    assert (scores["experiment"], scores["seed"], scores["epochs"]) == ("relu_lr2e-4", 0, 2)
    assert scores["data"]["kind"] == "simulated"
    assert scores["protocol"] == {"clusters": 5, "n_init": 10, "random_state": 0, "latent": "mean"}
    latents = np.load(trained / "latents.npz")
    labelled = latents["label"] != ""
    assert labelled.all()
    assert scores["frames"] == len(labelled) == sum(c["size"] for c in scores["clusters"])
    assert latents["mu"].shape == latents["log_sigma"].shape == (len(labelled), 50)
    np.testing.assert_array_equal(latents["description"], latents["mu"])
    places = list(zip(latents["file"].tolist(), latents["frame"].tolist(), strict=True))
    assert places == sorted(places)
    starts = np.array([FileName.parse(file).start for file in latents["file"]])
    after = (latents["time_utc"] - starts) / np.timedelta64(1, "s") - 0.05 * latents["frame"]
    assert ((after >= 0) & (after < 1.1)).all()  # names give whole seconds
    for cluster in scores["clusters"]:
        members = latents["cluster"] == cluster["cluster"]
        assert cluster["size"] == members.sum()
        assert cluster["counts"] == {name: int((latents["label"][members] == name).sum()) for name in cluster["counts"]}
    by_file = probe_macro_f1(latents["description"], latents["label"], latents["file"])
    assert scores["probe_macro_f1"] == pytest.approx(by_file)
    assert by_file != probe_macro_f1(latents["description"], latents["label"], np.arange(len(labelled)))


def test_a_run_whose_latents_do_not_vary_says_that_it_is_dead(training) -> None:
    folder, done = training
    scores = _scores(folder)
    varying = (np.load(folder / "latents.npz")["mu"].astype(np.float64).var(axis=0) > 0.01).sum()
    assert scores["active_units"] == varying == 0  # two epochs are too few to learn from
    assert scores["dead"] is True
    told = "dead: no latent varies over the frames"
    *table, last = done.stdout.strip().splitlines()
    assert str(folder) in last
    assert told in last
    assert told in table[-1]


def test_the_saved_clusters_of_a_run_are_those_fitted_on_its_frames(trained: Path) -> None:
    scores = _scores(trained)
    assert scores["saved"] == {name: scores[name] for name in CLUSTER_FIELDS}
    latents = np.load(trained / "latents.npz")
    np.testing.assert_array_equal(latents["saved_cluster"], latents["cluster"])


def test_a_frame_is_in_the_same_saved_cluster_in_every_folder(
    run, trained: Path, archive: Path, tmp_path: Path
) -> None:
    theirs = np.load(trained / "latents.npz")
    (tmp_path / "files").mkdir()
    for file in np.unique(theirs["file"])[::2]:
        shutil.copy(archive / file, tmp_path / "files")
    table = archive / "GroundTruth_Table.xlsx"
    places = ("data=mmia", f"data.root={tmp_path / 'files'}", f"data.ground_truth.table={table}")
    done = run(
        "score", f"weights={trained}", *places, f"data.store={tmp_path / 'store'}", f"out={tmp_path}", "figures=null"
    )
    ours = np.load(tmp_path / "latents.npz")
    here = np.isin(theirs["file"], ours["file"])
    assert 0 < len(ours["file"]) == here.sum() < len(here)
    np.testing.assert_array_equal(ours["saved_cluster"], theirs["cluster"][here])
    scores = _scores(tmp_path)
    saved = scores["saved"]
    assert set(saved) == CLUSTER_FIELDS
    assert saved["clusters"] != scores["clusters"]
    assert "in the clusters saved with the model:" in done.stdout
    names = json.loads((trained / "model.json").read_text())["clusters"]["labels"]
    hits = 0.0
    for cluster in saved["clusters"]:
        members = ours["label"][ours["saved_cluster"] == cluster["cluster"]]
        assert cluster["label"] == names[cluster["cluster"]]
        share = np.mean([(members == name).mean() for name in cluster["label"].split("/")])
        assert cluster["certainty"] == pytest.approx(share)
        hits += share * len(members)
    assert saved["purity"] == pytest.approx(hits / len(ours["label"]))


def test_losses_are_logged_for_both_splits(trained: Path) -> None:
    with (trained / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name in ("train/elbo", "train/log_px", "train/kl", "train/grad_norm", "val/elbo", "val/log_px", "val/kl"):
        assert all(row[name] for row in rows), name
    assert [float(row["train/beta"]) for row in rows] == [0.0, 1.0]
    for row in rows:  # the validation ELBO is at beta = 1 in every epoch
        parts = float(row["val/log_px"]) - float(row["val/kl"])
        assert float(row["val/elbo"]) == pytest.approx(parts, rel=1e-5)


def test_without_a_terminal_a_line_is_logged_for_each_epoch_and_no_bar_drawn(training) -> None:
    folder, done = training
    logged = (folder / "train.log").read_text()
    for told in (done.stdout, logged):
        lines = re.findall(r"epoch (\d) of 2: train ELBO (\S+), val ELBO (\S+), \S+ s, \S+ s left\n", told)
        assert [int(number) for number, *_ in lines] == [1, 2]
        with (folder / "metrics.csv").open() as stream:
            for (_, *values), row in zip(lines, csv.DictReader(stream), strict=True):
                assert values == [f"{float(row[name]):,.1f}" for name in ("train/elbo", "val/elbo")]
        places = [told.index(doing) for doing in ("reading: ", "epoch 1 of 2", "encoding and scoring: ", "drawing: ")]
        assert places == sorted(places)
    assert not {"\r", "\x1b"} & {*done.stdout, *done.stderr}
    assert len(logged) < 4000


def test_pictures_of_simulated_data_say_so(trained: Path) -> None:
    figures = _figures(trained)
    clusters = {f"cluster{c['cluster']}_sample" for c in _scores(trained)["clusters"]}
    names = {"training", "latent_map", "observation", "classes", "clusters", "reconstruction_edges"} | clusters
    assert set(figures) == {f"simulated_{name}" for name in names}
    for path in figures.values():
        assert _title(path)[-1].startswith("experiment relu_lr2e-4, SIMULATED data small asim_cvae ")


def test_pictures_of_frames_say_when_and_where_they_were_taken(trained: Path) -> None:
    file, frame, taken, _ = _title(_figures(trained)["simulated_cluster0_sample"])
    latents = np.load(trained / "latents.npz")
    number = int(re.match(r"frame (\d+), labelled \w+, cluster 0: ", frame)[1])
    time = latents["time_utc"][(latents["file"] == file) & (latents["frame"] == number)].astype("M8[ms]")
    when, where = taken.split(" UTC, ISS at ")
    assert np.datetime64(when) == time.item()
    assert re.fullmatch(r"\d+\.\d° [NS], \d+\.\d° [EW]", where)


def test_tensorboard_holds_curves_scores_figures_and_latents(trained: Path) -> None:
    events = EventAccumulator(str(trained), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    curves = {f"{split}/{name}" for split in ("train", "val") for name in ("elbo", "log_px", "kl")}
    assert curves | {"train/beta", "train/lr", "train/grad_norm", "val/active_units"} <= set(tags["scalars"])
    assert [event.value for event in events.Scalars("train/lr")] == pytest.approx([2e-4, 2e-4])
    assert set(_figures(trained)) == set(tags["images"])
    layout = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    for name in (b"elbo", b"log_px", b"kl"):
        assert b"^train/" + name + b"$" in layout
        assert b"^val/" + name + b"$" in layout

    scores = _scores(trained)
    noise = scores["noise"] or {"certainty": 0.0, "recall": 0.0}
    assert events.Scalars("score/noise_certainty")[0].value == pytest.approx(noise["certainty"])
    assert events.Scalars("score/probe_macro_f1")[0].value == pytest.approx(scores["probe_macro_f1"])
    session = HParamsPluginData.FromString(events.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content)
    settings = session.session_start_info.hparams
    assert settings["model.optimizer.lr"].number_value == 2e-4
    assert settings["experiment"].string_value == "relu_lr2e-4"

    latents = np.load(trained / "latents.npz")
    folder = trained / "00000" / "latents"
    np.testing.assert_allclose(np.loadtxt(folder / "tensors.tsv"), latents["mu"], rtol=1e-4, atol=1e-6)
    rows = list(csv.DictReader((folder / "metadata.tsv").open(newline=""), delimiter="\t"))
    assert [row["label"] for row in rows] == latents["label"].tolist()
    assert [int(row["cluster"]) for row in rows] == latents["cluster"].tolist()
    side = int(np.ceil(np.sqrt(len(rows))))
    assert imread(folder / "sprite.png").shape[:2] == (36 * side, 36 * side)


def test_thumbnails_show_light_where_it_is() -> None:
    flux = np.zeros((3, 5000), dtype=np.float32)
    flux[2, 4990] = 100.0
    picture = thumbnail(flux)
    assert picture.shape == (3, 36, 36)
    dark = np.argwhere((picture < 1).any(axis=0))
    assert set(dark[:, 1]) == {35}  # the last column
    assert dark[:, 0].min() >= 24  # rows 24 to 35 show the third band
    assert dark[:, 0].max() == 35  # its baseline


@pytest.mark.parametrize("weights", [".", "model.safetensors", "checkpoints/last.ckpt"])
def test_score_repeats_the_run_s_scores(run, trained: Path, small: list[str], tmp_path: Path, weights: str) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    run("score", f"weights={moved / weights}", *small, f"out={tmp_path / 'out'}", "figures=null")
    assert not (tmp_path / "out" / "figures").exists()
    ours, theirs = _scores(tmp_path / "out"), _scores(trained)
    a, b = np.load(tmp_path / "out" / "latents.npz"), np.load(trained / "latents.npz")
    expected = dict(b)
    if weights.endswith(".ckpt"):  # clusters are fitted, and saved, once a training has ended
        theirs["saved"] = None
        expected["saved_cluster"] = np.full(len(b["cluster"]), -1)
    file = moved / ("model.safetensors" if weights == "." else weights)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert ours.pop("weights") == {"path": str(file), "sha256": digest[:8], "heads": None}
    assert f"data.store={ours.pop('store')}" in small
    assert ours == theirs
    assert set(a) == set(expected)
    assert all(np.array_equal(a[name], expected[name]) for name in expected)


def test_score_writes_over_the_same_scores_alone(run, trained: Path, small: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    score = ("score", f"weights={trained}", *small, f"out={out}", "figures=null")
    run(*score)
    before = (out / "scores.json").read_bytes()
    run(*score)
    assert (out / "scores.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(trained / name, tmp_path / "other")
    weights = load_file(trained / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, tmp_path / "other" / "model.safetensors")
    forge(tmp_path / "other")
    for other, told in (
        ([f"weights={tmp_path / 'other'}"], "other weights"),
        (["scoring.clusters=4"], "other protocol"),
        ([f"weights={tmp_path / 'other'}", "scoring.clusters=4"], "other weights and protocol"),
        (["data.ground_truth.table=null", f"data.store={tmp_path / 'store'}"], "other data"),
    ):
        done = run(*score, *other, check=False)
        assert done.returncode == 2
        assert done.stderr == f"score: out={out}: holds scores of {told}; choose another folder\n"
        assert (out / "scores.json").read_bytes() == before
    for content, told in (
        (
            '{"frames": 3}',
            "not the scores of a run (damaged or changed: sha256 is not that of its content); choose another folder",
        ),
        ((trained / "scores.json").read_text(), "not written by score; choose another folder"),
    ):
        (out / "scores.json").write_text(content)
        assert run(*score, check=False).stderr == f"score: {out / 'scores.json'}: {told}\n"


def test_the_export_is_all_that_inference_needs(trained: Path) -> None:
    description = json.loads((trained / "model.json").read_text())
    weights = load_file(trained / "model.safetensors")
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.equal(weights[name], checkpoint["state_dict"][name]) for name in weights)
    assert description["representation"]["time_reversed"]
    clusters = description["clusters"]
    latents = np.load(trained / "latents.npz")
    distances = np.linalg.norm(latents["mu"][:, None] - np.array(clusters["centres"]), axis=2)
    np.testing.assert_array_equal(distances.argmin(1), latents["cluster"])
    assert clusters["labels"] == [c["label"] for c in _scores(trained)["clusters"]]


def test_same_seed_same_run(run, trained: Path, small: list[str], tmp_path: Path) -> None:
    arguments = ("train", "+experiment=relu_lr2e-4", *small, "trainer.max_epochs=2", "data.batch_size=20",
                 "figures=null")  # fmt: skip
    run(*arguments, f"hydra.run.dir={tmp_path / 'same'}")
    run(*arguments, f"hydra.run.dir={tmp_path / 'other'}", "seed=1")
    assert _scores(tmp_path / "same") == _scores(trained)
    ours, theirs, other = (load_file(f / "model.safetensors") for f in (tmp_path / "same", trained, tmp_path / "other"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not torch.equal(other["network.encoder.layers.16.weight"], theirs["network.encoder.layers.16.weight"])


def test_clusters_of_another_model_are_refused_in_one_line(trained: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        shutil.copy(trained / name, tmp_path)
    clusters = json.loads((trained / "model.json").read_text())["clusters"]
    forge(tmp_path, clusters=clusters | {"centres": [[0.0] * 49], "labels": ["N"]})
    with pytest.raises(InputError) as refused:
        load_model(tmp_path)
    told = "clusters: centres of shape (1, 49), while the model describes a frame by 50 values"
    assert str(refused.value) == f"{tmp_path / 'model.json'}: {told}"


def test_prepare_says_what_it_rejected_and_goes_on(run, tmp_path: Path) -> None:
    write_fits(tmp_path / f"{NAME}.fits", level1(light(2)))
    (tmp_path / "broken.cdf").write_text("no CDF")
    done = run("prepare", "data=mmia", f"data.root={tmp_path}", f"data.store={tmp_path / 'store'}")
    assert "rejected broken.cdf: neither FITS nor CDF by its content" in done.stdout
    assert "3 frames of 1 observations" in done.stdout
    again = run("prepare", "data=mmia", f"data.root={tmp_path}", f"data.store={tmp_path / 'store'}")
    assert again.stdout.count("\n") == 1
    assert "0 files read now, 1 rejected" in again.stdout
    assert "Traceback" not in done.stderr
    thorough = run(
        *("prepare", "data=mmia", f"data.root={tmp_path}", f"data.store={tmp_path / 'store'}"),
        *("check=true", "compact=true"),
    )
    assert thorough.stdout.splitlines()[-1] == again.stdout.strip()
    alone = ("prepare", "data=mmia", f"data.store={tmp_path / 'store'}", "check=true")
    run(*alone)
    (shard,) = (tmp_path / "store" / "shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:100_000])
    refused = run(*alone, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"prepare: {shard}: is damaged")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "overrides", "told"),
    [
        ("prepare", ["data=mmia", "data.root={folder}"], "{folder}: no MMIA file (.fits or .cdf) to use"),
        ("score", ["weights={folder}/x.pth", "data=mmia", "data.root={folder}"],
         "{folder}/x.pth: no weights of the thesis's network ("),
        ("table", ["runs={folder}"], "runs={folder}: no finished run in it"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_used_is_one_line_and_exit_status_1(
    run, tmp_path: Path, command: str, overrides: list[str], told: str
) -> None:
    (tmp_path / "x.pth").write_text("no weights")
    done = run(command, *(text.format(folder=tmp_path) for text in overrides), f"out={tmp_path / 'out'}"
               if command != "prepare" else f"data.store={tmp_path / 'store'}", check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"{command}: {told.format(folder=tmp_path)}")
    assert done.stderr.count("\n") == 1


def test_training_needs_two_observations(run, tmp_path: Path) -> None:
    write_fits(tmp_path / f"{NAME}.fits", level1(light(2)))
    places = [f"data.root={tmp_path}", f"data.store={tmp_path / 'store'}", f"hydra.run.dir={tmp_path / 'run'}"]
    done = run("train", "data=mmia", *places, check=False)
    assert done.returncode == 1
    assert "two observations at least" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_thesis_weights_on_real_frames(run, reference: Path, tmp_path: Path) -> None:
    name = "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_2em4"
    done = run(
        *("score", f"weights={reference / 'thesis_weights' / name}.pth", "data=mmia"),
        *(f"data.ground_truth.root={reference / 'mmia_level1'}", f"data.store={tmp_path / 'store'}", f"out={tmp_path}"),
    )
    published = np.load(reference / "thesis_parity.npz")[f"{name}/mu"]
    latents = np.load(tmp_path / "latents.npz")
    np.testing.assert_allclose(latents["mu"], published, atol=1e-4 * np.abs(published).max())
    assert latents["observation_id"].tolist() == [900001, 900002, 900003, 900004]
    scores = _scores(tmp_path)
    assert scores["data"]["kind"] == "mmia"
    assert (scores["noise"], scores["purity"], scores["ari"]) == (None, None, None)
    assert scores["saved"] is None  # the thesis published no centres
    assert latents["saved_cluster"].tolist() == [-1] * 4
    assert scores["active_units"] == (latents["mu"].astype(np.float64).var(axis=0) > 0.01).sum() > 0
    assert scores["dead"] is False
    assert "dead" not in done.stdout
    frames = {f"{path.stem}_frame0" for path in reference.glob("mmia_level1/*")}
    assert {"observation", "reconstruction_edges", "clusters"} | frames == set(_figures(tmp_path))


def test_training_on_four_real_observations(run, reference: Path, tmp_path: Path) -> None:
    done = run(
        *("train", "+experiment=relu_lr2e-4", "data=mmia", f"data.root={reference / 'mmia_level1'}"),
        *(
            "model.network.latent_dim=1",
            "trainer.max_epochs=2",
            f"data.store={tmp_path / 'store'}",
            f"hydra.run.dir={tmp_path / 'run'}",
        ),
    )
    assert "3 frames to train on, 1 of 4 observations to validate on" in done.stdout
    assert "batches of 3 frames, not 100" in done.stdout
    assert "no ground truth" in done.stdout
    data = _scores(tmp_path / "run")["data"]
    assert (data["kind"], data["name"], data["version"]) == ("mmia", "mmia_level1", "")
