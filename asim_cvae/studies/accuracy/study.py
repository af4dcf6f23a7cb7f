"""Measure the accuracy of heads, and write a page of it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.markdown import markdown_table
from asim_cvae.base.progress import track
from asim_cvae.inference import Model, load
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.recognition.frames import TrueFrames
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.scoring.clusters import ClusteringProtocol
from asim_cvae.studies.accuracy.measures import (
    measure_after_refit,
    measure_classes,
    measure_clusters,
    measure_kinds,
)
from asim_cvae.studies.accuracy.sets import Archives
from asim_cvae.studies.realism.real_frames import CLASSES_OF_FRAMES

REFITTED_TO = 25
"""Observations of a shifted archive to which heads are fitted."""

AFTER = f"after {REFITTED_TO} of its observations"
"""Names sets on which heads are measured after such a fit."""

Results = dict[str, Any]
"""What was measured of one model, as plain values: classes and clusters by set, kinds by name, real frames by name."""


def study_accuracy(
    out: Path,
    weights: Sequence[Path],
    archives: Archives,
    protocol: ClusteringProtocol,
    real: dict[str, NDArray[np.float32]],
) -> Path:
    """Write ``accuracy.md`` and ``accuracy.json`` into ``out``, and return the page.

    Args:
        out: folder.
        weights: folders of models with heads.
        archives: sets of frames.
        protocol: how descriptions are clustered.
        real: flux of real frames by name.

    Raises:
        InputError: there are no heads beside a model.
    """
    models = {str(path): load(path) for path in weights}
    heads = {name: _heads_of(name, model) for name, model in models.items()}
    kinds = {one: archives.kinds(one) for one in {each.representation for each in heads.values()}}
    results = {
        name: _measure(model, heads[name], archives, kinds[heads[name].representation], protocol, real)
        for name, model in track(models.items(), "measuring", "model")
    }
    write_json(out / "accuracy.json", {"simulated": True, "models": results})
    page = out / "accuracy.md"
    with atomic_write(page) as partial:
        partial.write_text("\n".join(_lines(list(results.values()), list(real))) + "\n", encoding="utf-8")
    return page


def _heads_of(name: str, model: Model) -> TrainedHeads:
    if model.heads is None:
        raise InputError(f"{name}: holds no heads; python -m asim_cvae.heads out={name} trains them")
    return model.heads


def _measure(
    model: Model,
    heads: TrainedHeads,
    archives: Archives,
    kinds: TrueFrames,
    protocol: ClusteringProtocol,
    real: dict[str, NDArray[np.float32]],
) -> Results:
    labelled = archives.labelled
    classes = {name: [measure_classes(heads, frames)] for name, frames in labelled.items()}
    for seed, frames in archives.shifted.items():
        if len(np.unique(frames.observation)) >= 2 * REFITTED_TO:
            classes[f"shifted {seed}, {AFTER}"] = measure_after_refit(heads, frames, REFITTED_TO)
    told = {name: model.recognize(flux) for name, flux in real.items()}
    return {
        "classes": {name: [asdict(one) for one in each] for name, each in classes.items()},
        "clusters": {name: asdict(measure_clusters(model, protocol, frames)) for name, frames in labelled.items()},
        "kinds": {kind: asdict(one) for kind, one in measure_kinds(heads, kinds).items()},
        "real": {
            name: {**dict(zip(CLASSES, one.classes[0], strict=True)), **dict(zip(KINDS, one.kinds[0], strict=True))}
            for name, one in told.items()
        },
    }


def _lines(results: Sequence[Results], real: Sequence[str]) -> list[str]:
    return [
        "# How well heads recognise classes and kinds (simulated)",
        "",
        f"Mean and deviation of {len(results)} trainings, on simulated archives kept for evaluation. Heads learnt",
        "from simulated truth. Clear frames are those whose class does not change when a threshold of the labelling",
        "rule moves by a quarter. Frames are dropped as noise by the threshold that was saved with the heads.",
        "",
        "## Classes",
        "",
        *markdown_table(["archive", *_CLASS_HEADINGS.values(), "spread of F1 over observations"], _class_rows(results)),
        "",
        "## Clusters of the descriptions: adjusted Rand index",
        "",
        *markdown_table(["archive", "all frames", "clear", "ambiguous"], _cluster_rows(results)),
        "",
        "## Kinds: average precision at natural prevalence",
        "",
        *markdown_table(
            ["kind", "frames", "by frame", "spread over observations", "by observation", "spread"], _kind_rows(results)
        ),
        *(["", "## Real frames, which nothing was fitted to", "", *_real_lines(results, real)] if real else []),
    ]


_CLASS_HEADINGS = {
    "macro_f1": "macro F1",
    "clear": "of clear frames",
    "ambiguous": "of ambiguous ones",
    "noise_dropped": "noise dropped",
    "events_kept": "events kept",
    "calibration_error": "calibration error",
}


def _class_rows(results: Sequence[Results]) -> list[list[str]]:
    return [
        [
            name,
            *(
                _mean([_average([one[field] for one in each["classes"][name]]) for each in results])
                for field in _CLASS_HEADINGS
            ),
            f"{np.mean([one['spread'] for each in results for one in each['classes'][name]]):.3f}",
        ]
        for name in _grouped(results[0]["classes"])
    ]


def _grouped(names: Any) -> list[str]:
    """Names of sets, those of one archive together."""
    return sorted(names, key=lambda name: (not name.startswith("evaluation"), AFTER in name, name))


def _cluster_rows(results: Sequence[Results]) -> list[list[str]]:
    return [
        [name, *(_mean([each["clusters"][name][field] for each in results]) for field in ("ari", "clear", "ambiguous"))]
        for name in results[0]["clusters"]
    ]


def _kind_rows(results: Sequence[Results]) -> list[list[str]]:
    rows = []
    for kind in KINDS:
        each = [one["kinds"][kind] for one in results]
        row = [kind, str(each[0]["frames"])]
        for value, spread in (("by_frame", "frame_spread"), ("by_observation", "observation_spread")):
            known = [one[value] for one in each if one[value] is not None]
            row += [_mean(known), f"{np.mean([one[spread] for one in each]):.3f}"] if known else ["-", "-"]
        rows.append(row)
    return rows


def _real_lines(results: Sequence[Results], real: Sequence[str]) -> list[str]:
    head = ["frame", "class by its source", "likeliest class, of how many trainings", "kinds of 0.5 and more"]
    rows = []
    for name in real:
        classes = [max(CLASSES, key=lambda label, one=one: one["real"][name][label]) for one in results]  # type: ignore[misc]
        counts = ", ".join(f"{label} {classes.count(label)}" for label in CLASSES if label in classes)
        kinds = [sum(one["real"][name][kind] >= 0.5 for one in results) for kind in KINDS]
        named = ", ".join(f"{kind} {count}" for kind, count in zip(KINDS, kinds, strict=True) if count)
        rows.append([name, " or ".join(CLASSES_OF_FRAMES[name]), counts, named or "none"])
    return markdown_table(head, rows)


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _mean(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f} ± {np.std(known):.3f}" if known else "-"
