"""Scores as text."""

from collections.abc import Mapping
from math import copysign, trunc
from typing import Any


def format_scores(scores: Mapping[str, Any]) -> str:
    """The content of a ``scores.json`` as a table for the terminal; certainties are cut to whole percents."""
    lines = [
        f"{scores['experiment']} (seed {scores['seed']}, {scores['epochs']} epochs) on {scores['frames']} frames of "
        f"{describe_data(scores['data'])}",
        f"{'cluster':>7}  {'class':<10} {'certainty':>9}  {'MDCC':>6}  {'frames':>6}",
    ]
    for cluster in scores["clusters"]:
        certainty = "-" if cluster["certainty"] is None else f"{percent(cluster['certainty'])} %"
        label = cluster["label"] or "-"
        lines.append(
            f"{cluster['cluster']:>7}  {label:<10} {certainty:>9}  {cluster['mdcc']:>6.2f}  {cluster['size']:>6}"
        )
    noise = scores["noise"]
    if noise is not None:
        lines.append(
            f"best noise cluster: {percent(noise['certainty'])} % noise, {percent(noise['recall'])} % of all noise"
        )
    elif scores["purity"] is not None:
        lines.append("no cluster is noise")
    else:
        lines.append("no labels: clusters have no classes")
    names = ("purity", "ari", "nmi", "probe_macro_f1", "active_units", "log_px", "kl")
    known = [(name, scores[name]) for name in names if scores[name] is not None]
    lines.append("  ".join(f"{name} {value:.4g}" for name, value in known))
    return "\n".join(lines)


def is_simulated(data: Mapping[str, str]) -> bool:
    """Whether the ``data`` of a ``scores.json`` are made up, which all that is made of them has to say."""
    return data["kind"] == "simulated"


def describe_data(data: Mapping[str, str]) -> str:
    """The ``data`` of a ``scores.json`` in words, marked where they are simulated."""
    kind = "SIMULATED data" if is_simulated(data) else "MMIA data"
    return f"{kind} {data['name']} {data['version']}".rstrip()


def percent(share: float) -> int:
    """A share in percent, cut to an integer as the thesis's Table 1 does; 0.29 is 29, whatever its last bit."""
    return int(100 * share + 1e-9)


def two_digits(score: float) -> str:
    """A score with two digits, cut as percents are: a share of 0.876 is 87 % and 0.87."""
    return f"{trunc(100 * score + copysign(1e-9, score)) / 100 + 0.0:.2f}"
