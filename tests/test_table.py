"""Tests of making Table 1 from finished runs."""

import csv
import re
from pathlib import Path
from statistics import mean, stdev

import pytest
from omegaconf import open_dict

from asim_cvae.base.errors import InputError
from asim_cvae.runs.config import write_config
from asim_cvae.scoring.published import read_published
from asim_cvae.settings.composing import composed
from asim_cvae.settings.schema import CONF
from tests.exports import sign


def _run(folder: Path, experiment: str, seed: int | None, noise: float | None, **changes: object) -> None:
    """Write a run folder with two clusters; ``noise`` is the certainty of the noise cluster, None if there is none."""
    label = "LCLA" if noise is None else "N"
    clusters = [
        {"cluster": 0, "label": label, "certainty": noise or 0.4, "mdcc": 1.5, "size": 100, "counts": {"N": 100}},
        {"cluster": 1, "label": "HCLA/LCHA", "certainty": 0.29, "mdcc": 2.25, "size": 60, "counts": {"N": 60}},
    ]
    scores = {
        "experiment": experiment, "seed": seed, "epochs": 4, "frames": 160, "restarts": 0, "device": "cpu",
        "described_by": "posterior means",
        "data": _data("0123abcd"),
        "protocol": {"clusters": 2, "n_init": 10, "random_state": 0, "latent": "mean"},
        "clusters": clusters, "noise": None if noise is None else {"certainty": noise, "recall": noise / 2},
        "purity": 0.4, "classes_represented": 2, "ari": 0.1 * (seed or 0), "nmi": 0.2, "probe_macro_f1": 0.5,
        "active_units": 3, "dead": False, "log_px": 1.0, "kl": 2.0, "saved": None, "heads": None, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    sign(folder / "scores.json", scores)


def _data(digest: str) -> dict[str, str]:
    return {"kind": "simulated", "name": "small", "version": "asim_cvae 5", "digest": digest}


def _cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def _published(reference: Path, experiment: str) -> list[dict[str, str]]:
    """Rows of the published table, as they stand there."""
    with (reference / "thesis_table1.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["experiment"] == experiment]


def test_seeds_stand_beside_the_published_row(run, reference: Path, tmp_path: Path) -> None:
    certainties = {0: 0.62, 1: 0.87, 2: None}
    for seed, noise in certainties.items():
        _run(tmp_path / f"seed{seed}", "relu_lr2e-4", seed, noise)
    done = run("table", f"runs={tmp_path}", f"reference={reference}")
    text = (tmp_path / "simulated_table1.md").read_text()
    assert text.strip() in done.stdout
    head, _, *rows = _cells(text)
    named = {row[2]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(named) == ["published", "seed 0", "seed 1", "seed 2", "mean of 3 seeds"]
    published, (row,) = named["published"], _published(reference, "relu_lr2e-4")
    clusters = [f"{row[f'cluster{k}']} %, {row[f'mdcc{k}']}" for k in range(5)]
    noise = max((cluster for cluster in clusters if cluster.startswith("N ")), key=lambda cluster: cluster.split()[1])
    shown = [f"**{cluster}**" if cluster == noise else cluster for cluster in clusters]
    assert [published[f"cluster {k}"] for k in range(5)] == shown
    certainty = f"0.{noise.split()[1]}"
    found = (published["epochs"], published["noise certainty"], published["noise recall"])
    assert found == (row["max_epochs"], certainty, "-")
    assert named["seed 1"]["cluster 0"] == "**N 87 %, 1.50**"
    assert named["seed 1"]["cluster 1"] == "HCLA/LCHA 29 %, 2.25"
    assert named["seed 2"]["cluster 0"] == "LCLA 40 %, 1.50"
    assert (
        named["mean of 3 seeds"]["noise certainty"] == f"{mean([0.62, 0.87]):.2f} ± {stdev([0.62, 0.87]):.2f} (2 of 3)"
    )
    assert named["mean of 3 seeds"]["ARI"] == "0.10 ± 0.10"
    assert {row[1] for row in rows[1:]} == {"4"}
    assert "SIMULATED data small asim_cvae 5" in text
    assert "1 of 3 runs" in text
    assert "†" not in text

    lines = list(csv.DictReader((tmp_path / "simulated_table1.csv").open(newline="")))
    exact = {line["source"]: line for line in lines}
    assert float(exact["seed 0"]["cluster0_certainty"]) == 0.62
    assert float(exact["mean of 3 seeds"]["noise_certainty_sd"]) == pytest.approx(stdev([0.62, 0.87]))
    assert float(exact["published"]["cluster1_mdcc"]) == float(row["mdcc1"])

    latex = (tmp_path / "simulated_table1.tex").read_text()
    assert r"\textbf{" + noise.replace("%", r"\%") + "}" in latex
    body = latex[latex.index(r"\begin{tabular}") :]
    assert not re.search(r"(?<!\\)[%_#]", body)
    widths = {line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")}
    assert widths == {len(head) - 1}


def test_experiments_stand_in_the_published_order(run, reference: Path, tmp_path: Path) -> None:
    names = [row.experiment for row in read_published(reference / "thesis_table1.csv")]
    for name in [*sorted(names), "mine"]:
        _run(tmp_path / name, name, 0, 0.5)
    run("table", f"runs={tmp_path}", f"reference={reference}")
    _, _, *rows = _cells((tmp_path / "simulated_table1.md").read_text())
    assert [row[0] for row in rows if row[2] == "seed 0"] == [*names, "mine"]
    assert [row[0] for row in rows if row[2] == "published"] == names


def _write_config(folder: Path, *overrides: str) -> None:
    """Write the configuration of a training with these settings."""
    config = composed("train", CONF, list(overrides))
    with open_dict(config):
        del config["hydra"]
    write_config(folder, config)


def test_runs_that_differ_in_more_than_the_seed_are_told_apart(run, tmp_path: Path) -> None:
    for number, (lr, seed) in enumerate([(1e-4, 0), (1e-4, 1), (1e-3, 0)]):
        _run(tmp_path / str(number), "mine", seed, 0.5)
        settings = (f"seed={seed}", f"model.optimizer.lr={lr}", f"trainer.accelerator={('cpu', 'gpu', 'auto')[number]}")
        _write_config(tmp_path / str(number), *settings)
    run("table", f"runs={tmp_path}", "reference=null")
    _, _, _, *rows = _cells((tmp_path / "simulated_table1.md").read_text())
    found = [(row[0], row[2]) for row in rows]
    slow, fast = "mine model.optimizer.lr=0.0001", "mine model.optimizer.lr=0.001"
    assert found == [(slow, "seed 0"), (slow, "seed 1"), (slow, "mean of 2 seeds"), (fast, "seed 0")]


def test_one_run_does_not_count_twice(run, tmp_path: Path) -> None:
    for number, seed in enumerate([0, 1, 0]):
        _run(tmp_path / f"run{number}", "mine", seed, 0.5)
    _run(tmp_path / "other_labels", "mine", 2, 0.5, data=_data("89abcdef"))
    _run(
        tmp_path / "sampled",
        "mine",
        3,
        0.5,
        protocol={"clusters": 2, "n_init": 10, "random_state": 0, "latent": "sample"},
    )
    done = run("table", f"runs={tmp_path}", "reference=null")
    assert f"excluded: {tmp_path / 'run2'}: the same run as {tmp_path / 'run0'}" in done.stdout
    head, _, *rows = _cells((tmp_path / "simulated_table1.md").read_text())
    assert head[3] == "data"
    mean_of = "mine scoring.latent=mean"
    assert [(row[0], row[2]) for row in rows if row[3].endswith("0123abcd")] == [
        *((mean_of, "seed 0"), (mean_of, "seed 1"), (mean_of, "mean of 2 seeds")),
        ("mine scoring.latent=sample", "seed 3"),
    ]
    assert [(row[0], row[2]) for row in rows if row[3].endswith("89abcdef")] == [(mean_of, "seed 2")]


def test_scores_of_weights_alone_stand_beside_runs(run, tmp_path: Path) -> None:
    _run(tmp_path / "run", "mine", 0, 0.5)
    _write_config(tmp_path / "run", "model.beta.share=0.5")
    _run(tmp_path / "scored", "mine", None, 0.5)
    _run(tmp_path / "unlabelled", "mine", 1, None, purity=None)
    run("table", f"runs={tmp_path}", "reference=null")
    text = (tmp_path / "simulated_table1.md").read_text()
    assert [row[2] for row in _cells(text)[3:]] == ["weights", "seed 0", "seed 1", "mean of 2 seeds"]
    assert "Without labels, or diverged: 1 of 3 runs" in text


def test_dead_runs_are_marked(run, tmp_path: Path) -> None:
    for seed, dead in enumerate([False, True]):
        _run(tmp_path / f"seed{seed}", "mine", seed, 0.5, active_units=0 if dead else 3, dead=dead)
    run("table", f"runs={tmp_path}", "reference=null")
    text = (tmp_path / "simulated_table1.md").read_text()
    assert [row[2] for row in _cells(text)[3:]] == ["seed 0", "seed 1 †", "mean of 2 seeds"]
    note = "dead: no latent varies over the frames, so its clusters mean nothing: 1 of 2 runs, counted in the means"
    assert text.splitlines()[-1] == f"† {note}"
    latex = (tmp_path / "simulated_table1.tex").read_text()
    assert r"& seed 1 \dag{} &" in latex
    assert rf"{{l}}{{\dag{{}} {note}}}" in latex
    lines = csv.DictReader((tmp_path / "simulated_table1.csv").open(newline=""))
    assert [(line["source"], line["dead"]) for line in lines] == [
        ("published", ""), ("seed 0", ""), ("seed 1", "dead"), ("mean of 2 seeds", "")
    ]  # fmt: skip


def test_what_is_no_finished_run_is_excluded_and_named(run, tmp_path: Path) -> None:
    _run(tmp_path / "good", "mine", 0, 0.5, data={"kind": "mmia", "name": "real", "version": "", "digest": ""})
    for name, content in (("broken", "{"), ("other", '{"experiment": "x"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(content)
    (tmp_path / "begun").mkdir()
    for folder in ("begun", "begun/.hydra"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "config.yaml").write_text("seed: 0\n")
    done = run("table", f"runs={tmp_path}", "reference=null", f"out={tmp_path / 'out'}")
    assert f"excluded: {tmp_path / 'begun'}: not finished" in done.stdout
    assert done.stdout.count("excluded: ") == 3
    for name in ("broken", "other"):
        assert f"excluded: {tmp_path / name / 'scores.json'}: not the scores of a run" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"table1.{s}" for s in ("md", "csv", "tex")}
    text = (tmp_path / "out" / "table1.md").read_text()
    assert "SIMULATED" not in text
    assert "Of the published table, its best row is quoted" in text


@pytest.mark.parametrize("there", [False, True])
def test_without_a_finished_run_one_line_says_so(run, tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "runs").mkdir()
    done = run("table", f"runs={tmp_path / 'runs'}", check=False)
    assert done.returncode == (1 if there else 2)
    assert done.stderr.startswith("table: ")
    assert done.stderr.count("\n") == 1


def test_another_table_than_the_published_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="not the published Table 1"):
        read_published(tmp_path / "t.csv")
