"""Tests of damaged and hostile files of a run folder: each is refused in one line, before anything is made of it."""

import json
import os
import random
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor

from asim_cvae.base.documents import unsigned
from asim_cvae.base.errors import InputError
from asim_cvae.inference import load
from asim_cvae.runs import export
from asim_cvae.runs.config import read_config
from asim_cvae.runs.export import TrainedModel, load_model
from asim_cvae.runs.folder import read_metrics, read_scores
from asim_cvae.runs.resume import resume_point, resumed_config
from asim_cvae.scoring.scores import score_columns
from asim_cvae.settings.schema import CONF
from asim_cvae.train import check_saved
from tests.exports import forge, sign

FLIPS = 40
CHECKPOINT = "last.ckpt"


@pytest.fixture(scope="module")
def trained(run, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of one epoch."""
    folder = tmp_path_factory.mktemp("artefacts") / "run"
    run("train", *arguments, "trainer.max_epochs=1", "model.network.latent_dim=4", f"hydra.run.dir={folder}")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run's export, configuration, scores and metrics, with its last checkpoint."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("model.safetensors", "model.json", "config.yaml", "scores.json", "metrics.csv"):
        shutil.copy(trained / name, copy)
    shutil.copy(trained / "checkpoints" / CHECKPOINT, copy)
    return copy


@pytest.fixture
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test fail if a network is made with memory for its weights."""
    build = export._build

    def on_meta(*arguments: Any) -> Any:
        assert torch.empty(0).device.type == "meta", "a network is made"
        return build(*arguments)

    monkeypatch.setattr(export, "_build", on_meta)


def _refused(read: Callable[[], object]) -> str:
    """Return the one line by which ``read`` refuses a file."""
    with pytest.raises(InputError) as error:
        read()
    told = str(error.value)
    assert told.isprintable()
    assert len(told) < 500
    return told


def _read(path: Path) -> TrainedModel | str:
    """Load a model, or return the line that refuses it."""
    try:
        return load_model(path)
    except InputError as error:
        return str(error)


def _contents(model: TrainedModel) -> tuple[Any, ...]:
    clusters = None if model.clusters is None else model.clusters.as_dict()
    weights = {name: value.tolist() for name, value in model.module.state_dict().items()}
    return weights, model.module.network.settings, model.representation, dict(model.run_info), clusters


def _flipped(content: bytes, rng: random.Random, place: str) -> bytes:
    """Flip a bit, in the first or last 4,000 bytes or anywhere."""
    size = len(content)
    start, stop = {"head": (0, min(size, 4000)), "tail": (max(0, size - 4000), size), "anywhere": (0, size)}[place]
    changed = bytearray(content)
    changed[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "entry"),
    [("model.safetensors", "."), ("model.json", "."), (CHECKPOINT, CHECKPOINT)],
)
def test_a_flipped_bit_is_refused_or_changes_nothing(folder: Path, name: str, entry: str) -> None:
    content, whole = (folder / name).read_bytes(), _contents(load_model(folder / entry))
    rng, refused = random.Random(name), 0
    for number in range(FLIPS):
        (folder / name).write_bytes(_flipped(content, rng, ("head", "tail", "anywhere")[number % 3]))
        told = _read(folder / entry)
        if isinstance(told, str):
            refused += 1
            assert told.startswith(f"{folder / name}: ")
            assert told.isprintable()
        else:
            assert _contents(told) == whole
    assert refused >= FLIPS * (0.75 if name == CHECKPOINT else 1)  # a checkpoint has padding, and unused fields


def test_spaces_and_the_order_of_keys_may_change(folder: Path) -> None:
    path = folder / "model.json"
    whole = _contents(load_model(folder))
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert _contents(load_model(folder)) == whole


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "model.safetensors")
    told = _refused(lambda: load(folder))
    assert told == (
        f"{folder / 'model.safetensors'}: damaged or of another model: its SHA-256 is not that in model.json; "
        "copy the export again"
    )


NETWORK = {"_target_": "asim_cvae.nn.thesis.ThesisNetwork", "latent_dim": 4, "activation": "relu"}
SCALING = {"_target_": "asim_cvae.frames.representation.LinearScaling"}
RUN = {"experiment": "x", "seed": 0, "epochs": 1, "restarts": 0}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": {**NETWORK, "latent_dim": 10**7}}, "network.latent_dim=10000000: has to be a whole number from 1"),
        ({"network": {**NETWORK, "latent_dim": 15_000}}, "has shape (8, 250), while its network's has (30000, 250)"),
        ({"network": {**NETWORK, "latent_dim": 5}}, "while its network's has"),
        ({"network": {**NETWORK, "latent_dim": True}}, "network.latent_dim=True: has to be a whole number"),
        ({"network": {**NETWORK, "activation": "tanh"}}, "network.activation=tanh: has to be one of relu, leaky_relu"),
        ({"network": {**NETWORK, "activation": "\x1b[2J\n"}}, "network.activation=?[2J?: has to be"),
        ({"network": {**NETWORK, "dropout": 1}}, "network.dropout=1: has to be a number, 0 or more and below 1"),
        ({"network": {**NETWORK, "more": 1}}, "ThesisNetwork: ThesisNetwork.__init__() got an unexpected keyword"),
        ({"network": {"latent_dim": 4}}, "_target_=None: has to be the full name of a class"),
        ({"network": {**NETWORK, "_target_": "os.system"}}, "_target_=os.system: lies outside of the trusted packages"),
        ({"network": {**NETWORK, "_target_": ["os.system"]}}, "has to be the full name of a class"),
        ({"network": {**NETWORK, "_target_": "asim_cvae./etc.passwd"}}, "has to be the full name of a class"),
        ({"network": {**NETWORK, "_target_": "torch.optim.Adam"}}, "_target_=torch.optim.Adam: is no Network"),
        ({"network": {**NETWORK, "_target_": "asim_cvae.nn.contract.Network"}}, "is abstract"),
        ({"network": {**NETWORK, "_partial_": True}}, "unexpected keyword argument '_partial_'"),
        ({"network": {**NETWORK, "name": "x" * 2000}}, "network.name: a text of more than 1000 characters"),
        ({"network": [NETWORK]}, "network: Expected `object`, got `array`"),
        ({"likelihood": None}, "likelihood: Expected `object`, got `null`"),
        ({"representation": {**SCALING, "full_scale": 0}}, "representation.full_scale=0: has to be a number, above 0"),
        ({"representation": {**SCALING, "full_scale": "210"}}, "representation.full_scale=210: has to be a number"),
        ({"representation": {**SCALING, "full_scale": 1e-60}}, "full_scale=1e-60: must be 0 < low < high < 1"),
        ({"representation": {**SCALING, "high": 1 - 1e-12}}, "must be 0 < low < high < 1"),
        (
            {"representation": {**SCALING, "time_reversed": 1}},
            "representation.time_reversed=1: has to be true or false",
        ),
        ({"run_info": {**RUN, "epochs": -1}}, "run_info.epochs: Expected `int` >= 0"),
        ({"run_info": {**RUN, "experiment": "a\nb"}}, "run_info.experiment: Expected `str` matching regex"),
        ({"run_info": {"experiment": "x"}}, "run_info: Object missing required field"),
        ({"clusters": {"latent": "mean", "centres": [["0"] * 4], "labels": ["N"]}}, "centres that are not finite"),
        ({"clusters": []}, "clusters: Expected `object | null`, got `array`"),
        ({"format": 3}, "no model of this program, or one of another version: format 3, not 4"),
    ],
)
def test_values_of_a_forged_description_are_refused(folder: Path, changes: dict[str, Any], told: str) -> None:
    forge(folder, **changes)
    line = _refused(lambda: load(folder))
    assert told in line
    assert line.startswith(f"{folder / 'model.'}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "has to be an object, not list"),
        (b"", "no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "is no UTF-8 text"),
        (b'{"format": 4, "format": 4}', "the key 'format' stands there twice"),
        (b'{"format": NaN}', "NaN is no finite number"),
        (b'{"format": 1e999}', "1e999 is no finite number"),
        (b'{"format": ' + b"9" * 5000 + b"}", "is beyond 64 bits"),
        (b'{"format": 99999999999999999999}', "is beyond 64 bits"),
        (b"{}", "format None, not 4"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_description_is_refused(folder: Path, nothing_is_made, content: bytes, told: str) -> None:
    (folder / "model.json").write_bytes(content)
    line = _refused(lambda: load(folder))
    assert line.startswith(f"{folder / 'model.json'}: ")
    assert told in line


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.json", load_model),
        ("model.safetensors", load_model),
        ("scores.json", lambda folder: read_scores(folder / "scores.json")),
        ("metrics.csv", lambda folder: read_metrics(folder / "metrics.csv")),
        ("config.yaml", read_config),
        (CHECKPOINT, lambda folder: load_model(folder / CHECKPOINT)),
    ],
)
def test_a_file_of_absurd_size_is_not_read(
    folder: Path, nothing_is_made, name: str, read: Callable[[Path], Any]
) -> None:
    os.truncate(folder / name, 20 * 2**30)  # takes no room on the disk
    line = _refused(lambda: read(folder))
    assert line.startswith(f"{folder / name}: 21,474,836,480 bytes")


def test_weights_of_more_bytes_than_the_network_has_are_not_read(folder: Path, nothing_is_made) -> None:
    os.truncate(folder / "model.safetensors", 2**30)
    assert "1,073,741,824 bytes, at most" in _refused(lambda: load(folder))


def _with_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return a function that changes the header of a file of weights."""

    def write(path: Path) -> None:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        changed = json.dumps(change(header) or header).encode()
        path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])

    return write


def _with_length(length: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])


def _with_weights(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    """Return a function that changes the weights in a file of them."""

    def write(path: Path) -> None:
        weights = load_file(path)
        change(weights)
        save_file(weights, path)

    return write


FIRST = "network.decoder.layers.0.weight"
LAST = "network.encoder.layers.16.bias"


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (_with_length(2**63), "no weights in the format safetensors"),
        (_with_length(2**27), "no weights in the format safetensors"),
        (_with_length(0), "no weights in the format safetensors"),
        (_with_header(lambda h: h[LAST].update(data_offsets=[0, 4])), "no weights in the format safetensors"),
        (_with_header(lambda h: h[LAST].update(data_offsets=h[FIRST]["data_offsets"])), "no weights in the format"),
        (_with_header(lambda h: h[LAST].update(data_offsets=[2**62, 2**63])), "no weights in the format"),
        (_with_header(lambda h: h[LAST].update(shape=[-1])), "no weights in the format"),
        (_with_header(lambda h: h[LAST].update(shape=[2**40, 2**40])), "no weights in the format"),
        (_with_header(lambda h: h[LAST].update(dtype="F64")), "no weights in the format"),
        (_with_header(lambda h: h[LAST].update(dtype="I32")), f"{LAST} is of torch.int32, while its network's is of"),
        (_with_header(lambda h: h[LAST].update(dtype="X9")), "no weights in the format"),
        (_with_header(lambda h: h.pop(LAST)), "no weights in the format"),
        (_with_header(lambda h: [h]), "no weights in the format"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4]), "no weights in the format"),
        (lambda path: path.write_bytes(path.read_bytes() + bytes(4)), "no weights in the format"),
        (lambda path: path.write_bytes(b""), "no weights in the format"),
        (_with_weights(lambda w: w.pop(LAST)), f"{LAST} is missing among its weights"),
        (_with_weights(lambda w: w.update(more=torch.zeros(2))), "more is no weight of its network"),
        (_with_weights(lambda w: w.update({LAST: w[LAST].double()})), f"{LAST} is of torch.float64"),
        (
            _with_weights(lambda w: w.update({LAST: w[LAST][:-1].clone()})),
            f"{LAST} has shape (499,), while its network's",
        ),
    ],
)
def test_forged_weights_are_refused(folder: Path, nothing_is_made, write: Callable[[Path], None], told: str) -> None:
    path = folder / "model.safetensors"
    write(path)
    forge(folder)
    line = _refused(lambda: load(folder))
    assert line.startswith(f"{path}: ")
    assert told in line


def _nested(levels: int, width: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value] * width  # one object, many times: a pickle of some bytes
    return value


class _Opens:
    """Opens a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.pop("asim_cvae"), "not a checkpoint of this program"),
        (lambda c: c.update(asim_cvae=[1]), "not a checkpoint of this program"),
        (lambda c: c["asim_cvae"].update(format=3), "format 3, not 4"),
        (lambda c: c["asim_cvae"]["network"].update(latent_dim=10**7), "network.latent_dim=10000000: has to be"),
        (lambda c: c["asim_cvae"]["network"].update(latent_dim=torch.zeros(3)), "not described by plain values"),
        (lambda c: c["asim_cvae"]["representation"].update(full_scale=float("nan")), "not described by plain values"),
        (lambda c: c["asim_cvae"]["run_info"].update(restarts="0"), "run_info.restarts: Expected `int`, got `str`"),
        (lambda c: c["state_dict"].pop(LAST), f"{LAST} is missing"),
        (lambda c: c["state_dict"].update({LAST: 1}), f"{LAST} is no array"),
        (lambda c: c["state_dict"].update({LAST: torch.zeros(1).expand(10**9)}), f"{LAST} has shape (1000000000,)"),
        (lambda c: c["state_dict"].update({LAST: torch.zeros(8).to_sparse()}), f"{LAST} is no array"),
        (lambda c: c.update(state_dict=[]), "state_dict: Expected `object`, got `array`"),
        (lambda c: c.update(epoch="1"), "epoch: Expected `int`, got `str`"),
        (lambda c: c.update(loops=_nested(60, 2)), "more than 200,000 values, or 50 levels of them"),
        (lambda c: c.update(loops=_nested(40, 2)), "more than 200,000 values, or 50 levels of them"),
    ],
)
def test_forged_checkpoints_are_refused(
    folder: Path, nothing_is_made, change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    path = folder / CHECKPOINT
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    line = _refused(lambda: load(path))
    assert line.startswith(f"{path}: ")
    assert told in line
    (folder / "checkpoints").mkdir()
    path = path.rename(folder / "checkpoints" / CHECKPOINT)
    line = _refused(lambda: resume_point(folder, read_config(folder)))
    assert line.startswith(f"{path}: ")
    assert path.exists()  # it is not damaged, so it is not set aside


def test_a_pickle_runs_nothing(folder: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "asim_cvae": _Opens(tmp_path / "made")}, folder / CHECKPOINT)
    assert "is no checkpoint, or damaged" in _refused(lambda: load(folder / CHECKPOINT))
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_that_unfolds_is_not_unfolded(folder: Path) -> None:
    path = folder / CHECKPOINT
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    assert "its parts are larger than the file" in _refused(lambda: load(path))


PROTOCOL = {"clusters": 5, "n_init": 10, "random_state": 0, "latent": "mean"}

SCORES = [
    ("epochs", "3", "epochs: Expected `int | null`, got `str`"),
    ("epochs", -1, "epochs: Expected `int` >= 0"),
    ("experiment", "a\nb", "experiment: Expected `str` matching regex"),
    ("purity", 2, "purity: Expected `float` <= 1"),
    ("ari", "x", "ari: Expected `float | null`, got `str`"),
    ("dead", "no", "dead: Expected `bool | null`, got `str`"),
    ("clusters", None, "clusters: Expected `array`, got `null`"),
    ("clusters", [{"cluster": 0}], "clusters[0]: Object missing required field `label`"),
    ("noise", [], "noise: Expected `object | null`, got `array`"),
    ("data", "mmia", "data: Expected `object`, got `str`"),
    ("data", {"kind": "real", "name": "", "version": "", "digest": ""}, "data.kind: Invalid enum value 'real'"),
    ("protocol", {"latent": "mean"}, "protocol: Object missing required field `clusters`"),
    ("protocol", {**PROTOCOL, "n_init": {}}, "protocol.n_init: Expected `int`, got `object`"),
    ("protocol", {**PROTOCOL, "random_state": "text"}, "protocol.random_state: Expected `int`, got `str`"),
    ("saved", {"clusters": 0}, "saved.clusters: Expected `array`, got `int`"),
]


def test_changed_scores_are_refused(folder: Path) -> None:
    """Any other value is noticed, also one that the file may hold: a score that has none is null."""
    path = folder / "scores.json"
    scores = json.loads(path.read_text())
    for change in ({"nmi": None}, {"ari": -0.5}, {"epochs": None}, {"seed": 1}, {"more": 0}):
        path.write_text(json.dumps(scores | change))
        assert "damaged or changed: sha256 is not that of its content" in _refused(lambda: read_scores(path))
    path.write_text(json.dumps(dict(reversed(scores.items()))))
    assert read_scores(path).keys() == scores.keys() - {"sha256"}


def test_scores_from_before_one_was_declared_are_read(folder: Path) -> None:
    path = folder / "scores.json"
    content = unsigned(json.loads(path.read_text()))
    del content["probe_macro_f1"]
    sign(path, content)
    assert read_scores(path) == content
    values = {column.heading: column.value(content) for column in score_columns()}
    assert values["probe F1"] is None
    del content["data"]
    sign(path, content)
    assert "data" in _refused(lambda: read_scores(path))


@pytest.mark.parametrize(("key", "value", "told"), SCORES)
def test_scores_are_checked_by_their_declarations(folder: Path, key: str, value: Any, told: str) -> None:
    path = folder / "scores.json"
    assert read_scores(path)["epochs"] == 1
    sign(path, json.loads(path.read_text()) | {key: value})
    line = _refused(lambda: read_scores(path))
    assert line.startswith(f"{path}: not the scores of a run ({told}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("epoch,train/elbo\n0,x\n", "train/elbo: 'x' is no number"),
        ("epoch,train/elbo\n-1,1.0\n", "'-1' is no number of an epoch"),
        ("epoch,train/elbo\n0\n", "a row is longer or shorter than the first"),
        ("epoch,train/elbo\n0,1.0,2.0\n", "a row is longer or shorter than the first"),
        ("train/elbo\n1.0\n", "'' is no number of an epoch"),
        ("epoch\n0\x00\n", "'0?' is no number of an epoch"),
        (f'epoch\n"{"0" * 200_000}"\n', "field larger than field limit"),
        ("epoch\n99999999999999999999\n", "is no number of an epoch"),
        ('epoch\n"0\n', "unexpected end of data"),
    ],
)
def test_metrics_are_checked_before_a_run_goes_on(folder: Path, content: str, told: str) -> None:
    path = folder / "metrics.csv"
    path.write_text(content)
    line = _refused(lambda: resume_point(folder, read_config(folder)))
    assert line.startswith(f"{path}: not the metrics of a run (")
    assert told in line


def test_metrics_may_hold_what_a_diverged_run_wrote(folder: Path) -> None:
    (folder / "metrics.csv").write_text("epoch,train/elbo,val/elbo\n0,nan,\n1,-inf,2.0\n")
    assert read_metrics(folder / "metrics.csv")[1] == {"epoch": "1", "train/elbo": "-inf", "val/elbo": "2.0"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "has to hold settings by name"),
        ("a: {b: [", "expected the node content, but found '<stream end>' in line 1"),
        ("a: \xff".encode("latin-1"), "is no UTF-8 text"),
        ("a: 1\na: 2\n", "found duplicate key a in line 2"),
        ("1: 2\n", "the name 1 is no text; quote it"),
        ("a: &x [1]\nb: [*x, *x]\n", "an anchor, alias or tag in line 1"),
        ("a: !!python/object/apply:os.system [ls]\n", "an anchor, alias or tag in line 1"),
        ("a: ${oc.env:SECRET}\n", "${oc.env:SECRET} is not resolved; write the value itself"),
        ('a: "\\x24{oc.env:SECRET}"\n', "${oc.env:SECRET} is not resolved; write the value itself"),
        ("a: {'${oc.env:SECRET}': 1}\n", "${oc.env:SECRET} is not resolved; write the value itself"),
        ("a: " + "[" * 1000, "nested too deeply"),
        ("a: " + "x" * 4000, "a value of more than 3000 characters"),
        ("a: 0x" + "f" * 2900 + "\ntrust: 1", "incomplete, without callbacks"),
        ("name: a\nseed: 0\n", "incomplete, without callbacks, data,"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_saved_configuration_holds_plain_values_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, told: str
) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    path = folder / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = _refused(lambda: read_config(folder))
    assert line.startswith(f"{path}: ")
    assert told in line
    assert "leaked" not in line


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("model._target_", 3, "_target_=3: has to be the full name of a class"),
        ("model.optimizer._partial_", "text", "_partial_=text: has to be true or false"),
        ("model._target_", "no class", "_target_=no class: has to be the full name of a class"),
        ("seed", "text", "seed=text: has to be a whole number"),
        ("scoring.n_init", {}, "scoring.n_init={}: has to be a whole number"),
        ("max_restarts", -1, "max_restarts=-1: has to be a whole number"),
    ],
)
def test_a_saved_configuration_holds_what_a_run_may_have(folder: Path, name: str, value: Any, told: str) -> None:
    path = folder / "config.yaml"
    config = OmegaConf.load(path)
    OmegaConf.update(config, name, value, merge=False)
    OmegaConf.save(config, path)
    assert told in _refused(lambda: read_config(folder))


EVIL = [
    ("representation", {"_target_": "torch.load", "f": "evil.ckpt", "weights_only": False}, "torch.load: lies outside"),
    ("representation", {"_target_": "builtins.open", "file": "made", "mode": "w"}, "builtins.open: lies outside"),
    ("data", {"_target_": "os.system", "root": "touch made"}, "os.system: lies outside"),
    ("model.network", {"_target_": "hydra.utils.call", "config": {"_target_": "os.system"}}, "lies outside"),
    ("model.optimizer", {"_target_": "builtins.exec", "_args_": ["1"], "lr": 1.0, "fused": True}, "lies outside"),
    ("model.beta", {"_target_": ["os.system"], "share": 0.5}, "has to be the full name of a class"),
    ("scoring", {"_target_": "asim_cvae.scoring.clusters.ClusteringProtocol", "_partial_": True}, "scoring._partial_"),
    ("scoring", {"_target_": "asim_cvae.scoring.clusters.ClusteringProtocol", "_args_": [1]}, "scoring._args_"),
    ("callbacks", {"a": {"_target_": "pytorch_lightning.callbacks.LambdaCallback",
                         "on_fit_start": {"_target_": "os.system", "_partial_": True}}}, "no class can be named"),
    ("callbacks", {"a": [{"_target_": "os.system"}]}, "callbacks.a: no such setting"),
    ("figures", [{"_target_": "os.system"}], "figures=[{'_target_': 'os.system'}]: has to be a whole number"),
    ("model.augmentations", [{"_target_": "os.system"}], "os.system: lies outside"),
    ("trainer", {"_target_": "pytorch_lightning.Trainer", "logger": {"_target_": "os.system"}}, "the program itself"),
]  # fmt: skip


def _hostile(folder: Path, place: str, value: Any) -> None:
    """Change a value of a folder's configuration, or some of a group of values."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    *groups, name = place.split(".")
    group = config
    for key in groups:
        group = group[key]
    kept = {key: own for key, own in group[name].items() if key[0] != "_"} if isinstance(value, dict) else {}
    group[name] = {**kept, **value} if isinstance(value, dict) else value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(("place", "value", "told"), EVIL)
def test_a_hostile_configuration_is_refused(folder: Path, place: str, value: Any, told: str) -> None:
    _hostile(folder, place, value)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = compose("train")
    line = _refused(lambda: check_saved(folder, resumed_config(folder, own, own, [])))
    assert line.startswith(f"{folder / 'config.yaml'}: ")
    assert told in line


def test_resuming_a_hostile_run_makes_nothing(run, folder: Path) -> None:
    _hostile(folder, "representation", {"_target_": "builtins.open", "file": str(folder / "made"), "mode": "w"})
    before = sorted(folder.iterdir())
    done = run("train", f"resume={folder}", check=False)
    told = (
        "representation._target_=builtins.open: lies outside of the trusted packages (asim_cvae, torch.optim, pytorch_"
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"train: {folder / 'config.yaml'}: {told}")
    assert done.stderr.count("\n") == 1
    assert [path for path in sorted(folder.iterdir()) if path.name != "train.log"] == before


def test_a_place_without_its_class_is_said(folder: Path) -> None:
    shutil.copy(folder / "config.yaml", folder / "whole.yaml")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = compose("train")
    for place, value, told in (
        ("model.optimizer", {"_target_": "torch.optim.Adam"}, "model.optimizer._partial_=None: has to be true"),
        (
            "callbacks",
            {"a": 5},
            "; callbacks.a._target_=PACKAGE.MODULE.CLASS adds one",
        ),
        ("representation", {"low": 0.1}, "representation: has to name a class, as representation._target_="),
    ):
        shutil.copy(folder / "whole.yaml", folder / "config.yaml")
        _hostile(folder, place, value)
        assert told in _refused(lambda: check_saved(folder, resumed_config(folder, own, own, [])))


def test_commands_refuse_in_one_line(run, folder: Path, tmp_path: Path) -> None:
    (folder / "scores.json").write_text('{"epochs": ')
    resumed = run("train", f"resume={folder}", check=False)
    assert resumed.returncode == 1
    assert re.fullmatch(
        rf"train: {folder / 'scores.json'}: not the scores of a run \(no JSON .*\); "
        r"delete the file, and the run is scored again\n",
        resumed.stderr,
    )
    forge(folder, network={**NETWORK, "latent_dim": 10**7})
    scored = run("score", f"weights={folder}", f"out={tmp_path / 'out'}", check=False)
    told = "network.latent_dim=10000000: has to be a whole number from 1 to 15000"
    assert (scored.returncode, scored.stderr) == (1, f"score: {folder / 'model.json'}: {told}\n")


def test_a_table_lists_damaged_runs_and_goes_on(run, trained: Path, tmp_path: Path) -> None:
    for name in ("whole", "scores", "config"):
        (tmp_path / name).mkdir()
        for file in ("scores.json", "config.yaml"):
            shutil.copy(trained / file, tmp_path / name)
    (tmp_path / "scores" / "scores.json").write_bytes(b"[" * 100_000)
    (tmp_path / "config" / "config.yaml").write_text("name: ${oc.env:HOME}\n")
    done = run("table", f"runs={tmp_path}", "reference=null", f"out={tmp_path / 'out'}")
    excluded = [line for line in done.stdout.splitlines() if line.startswith("excluded: ")]
    assert excluded == [
        f"excluded: {tmp_path / 'config' / 'config.yaml'}: no configuration of a run: ${{oc.env:HOME}} is not "
        "resolved; write the value itself",
        f"excluded: {tmp_path / 'scores' / 'scores.json'}: not the scores of a run (its JSON is nested too deeply)",
    ]
    assert "relu_lr2e-4" in (tmp_path / "out" / "simulated_table1.md").read_text()
