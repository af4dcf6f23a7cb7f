"""Scores as text."""

from collections.abc import Iterator, Mapping, Sequence
from math import copysign, trunc
from pathlib import Path
from typing import Any

from asim_cvae.scoring.scores import ClusterScores, ScoreColumn, score_columns

DEAD = "dead: no latent varies over the frames, so its clusters mean nothing"
"""Note that stands wherever the scores of a dead run do."""


def format_scores(scores: Mapping[str, Any]) -> str:
    """Format the content of a ``scores.json`` as a table for the terminal; shares are cut, not rounded.

    Clusters that were saved with the model have a second table where they differ from those fitted on the frames.
    """
    lines = [
        f"{scores['experiment']} (seed {scores['seed']}, {scores['epochs']} epochs) on {scores['frames']} frames of "
        f"{describe_data(scores['data'])}",
        *_clusters(scores, score_columns()),
    ]
    saved = scores["saved"]
    if saved is not None and any(saved[name] != scores[name] for name in saved):
        lines += ["in the clusters saved with the model:", *_clusters(saved, score_columns(ClusterScores))]
    if scores["heads"] is not None:
        lines.append(_heads(scores["heads"]))
    if scores["clusters"] and scores["ari"] is None:
        lines.append("no labels: clusters cannot be scored")
    if scores["dead"]:
        lines.append(DEAD)
    return "\n".join(lines)


def _heads(heads: Mapping[str, Any]) -> str:
    """Say where heads learnt, beside what they score."""
    again = "" if heads["calibrated_on"] is None else f", calibrated on {heads['calibrated_on']} frames"
    return f"scores of heads are of ones trained on {heads['trained_on'].upper()} frames{again}"


def closing_line(scores: Mapping[str, Any], folder: Path) -> str:
    """Format the last line of a command that scored: the folder of the results, and a note if the run is dead."""
    place = f"scores, latents and figures are in {folder}"
    return f"{place} ({DEAD})" if scores["dead"] else place


def _clusters(scores: Mapping[str, Any], columns: Sequence[ScoreColumn]) -> Iterator[str]:
    """Yield a line for each cluster, and one with the scores that have a value."""
    yield f"{'cluster':>7}  {'class':<10} {'certainty':>9}  {'MDCC':>6}  {'frames':>6}"
    for cluster in scores["clusters"]:
        certainty = "-" if cluster["certainty"] is None else f"{percent(cluster['certainty'])} %"
        label = cluster["label"] or "-"
        yield f"{cluster['cluster']:>7}  {label:<10} {certainty:>9}  {cluster['mdcc']:>6.2f}  {cluster['size']:>6}"
    if not scores["clusters"]:
        yield "no clusters: there are no frames, or their latents are not finite"
    elif scores["ari"] is not None and scores["noise"] is None:
        yield "no cluster is noise"
    values = [(column, column.value(scores)) for column in columns]
    known = [f"{column.heading} {cut_digits(v, column.places)}" for column, v in values if v is not None]
    if known:
        yield "  ".join(known)


def is_simulated(data: Mapping[str, str]) -> bool:
    """Tell whether the ``data`` of a ``scores.json`` are simulated; whatever shows them has to say so."""
    return data["kind"] == "simulated"


def describe_data(data: Mapping[str, str]) -> str:
    """Name the ``data`` of a ``scores.json``, marked where they are simulated."""
    kind = "SIMULATED data" if is_simulated(data) else "MMIA data"
    return f"{kind} {data['name']} {data['version']}".rstrip()


def percent(share: float) -> int:
    """Cut a share to whole percents, as the thesis's Table 1 does; 0.29 gives 29, whatever its last bit."""
    return int(100 * share + 1e-9)


def cut_digits(value: float, places: int) -> str:
    """Cut a value to some decimal places, as percents are cut: a share of 0.876 is 87 % and 0.87."""
    scale = 10**places
    return f"{trunc(scale * value + copysign(1e-9, value)) / scale + 0.0:.{places}f}"
