"""Write what was measured of the catalogue of pulses as Markdown."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from asim_cvae.base.markdown import markdown_table
from asim_cvae.pulses.columns import Table
from asim_cvae.pulses.kinds import BLUE_JET, CHANNEL, CORONA, CORRELATED, KINDS, PARTICLE
from asim_cvae.studies.triage.pulse_scores import ERRORS, Score, median_and_spread
from asim_cvae.studies.triage.pulse_study import CATALOGUE, PulseResults

AMPLITUDES = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)
"""Edges of ranges of the peak, in counts per sample."""

SEPARATIONS = (7.0, 10.0, 15.0, 25.0, 50.0, np.inf)
"""Edges of ranges of the separation, in standard deviations."""

ACCEPTED = {
    PARTICLE: ("particle",),
    CORONA: ("corona",),
    BLUE_JET: ("blue jet",),
    CORRELATED: ("return stroke", "in-cloud pulse", "continuing current", "sprite"),
    CHANNEL: ("channel",),
}
"""True kinds of which each kind by rule may be."""

PROTOTYPE = {
    "900001": ("thesis_fig6", "7 pulses, of which two large correlated ones (16.1 and 25.4 ms, width 2 ms)"),
    "900002": ("thesis_fig7_cluster1", "one hit"),
    "900003": ("thesis_fig7_cluster2", "55, nearly all of 1 to 4 samples, none in two photometers"),
    "900004": ("thesis_fig7_cluster3", "a correlated pair (14.0 and 16.9 ms)"),
}
"""Names of the real frames by the number of their observation, and what a prototype of the catalogue found in each."""


def pulse_lines(results: PulseResults, images: str) -> list[str]:
    """Return the lines of the section on pulses; ``images`` precedes the names of its figures."""
    lines = [
        "## The catalogue of pulses (simulated)",
        "",
        "A true pulse has to be found if a filter that knows its shape finds it with 7 standard deviations, and its",
        "maximum in the noise-free light stands out by 7. Other true pulses that are found count neither as found nor",
        "as false. Mean and deviation over seeds.",
        "",
        f"![Found pulses of an observation, simulated]({images}simulated_pulses_example.png)",
        "",
        *_tables_of_archives(results),
        "### False pulses in quiet observations",
        "",
        "Nothing but a background that drifts by 30 %: pulses found for each observation.",
        "",
        *_quiet(results.quiet),
        "",
        f"![Completeness by amplitude and separation, simulated]({images}simulated_pulses_completeness.png)",
        "",
        "### Errors of parameters",
        "",
        "Isolated return strokes of 8 counts and more: median, and half of the range from 16 to 84 %.",
        "",
        *_errors(results),
        "",
        "Fluence of other pulses of 20 counts and more, in %, by the flag blend:",
        "",
        *_fluences(results),
        "",
        f"![Errors of parameters, simulated]({images}simulated_pulses_errors.png)",
    ]
    if results.real:
        lines += ["", "### Real frames, on which nothing was tuned", "", *_real(results.real)]
    return lines


def _tables_of_archives(results: PulseResults) -> Iterator[str]:
    for name, detectors in results.scores.items():
        seeds = ", ".join(map(str, detectors[CATALOGUE]))
        yield from (f"### Archive {name}, seeds {seeds}", "", *_detectors(detectors), "")
        scores = list(detectors[CATALOGUE].values())
        yield from ("Found of each kind, all seeds together, by amplitude (counts) and separation:", "")
        yield from (*_by_kind(scores), "", "Kinds by rule:", "", *_precision(scores), "")


def _detectors(detectors: Mapping[str, Mapping[int, Score]]) -> list[str]:
    head = [
        *("detector", "completeness", "of light", "of hits", "purity", "of light", "of hits"),
        *("false an observation", "matched by chance", "time"),
    ]
    reference = list(list(detectors.values())[-1].values())
    rows = []
    for name, by_seed in detectors.items():
        scores = list(by_seed.values())
        tells_hits = name == CATALOGUE
        rows.append(
            [
                name,
                *(_mean([one.completeness(part) for one in scores]) for part in (None, False, True)),
                *(_mean([one.purity(part) for one in scores]) if tells_hits or part is None else "-"
                  for part in (None, False, True)),
                _mean([(one.false_light + one.false_hits) / one.observations for one in scores], 2),
                _mean([one.by_chance / max(one.detections, 1) for one in scores]),
                _mean([one.seconds / other.seconds for one, other in zip(scores, reference, strict=True)], 1),
            ]
        )  # fmt: skip
    return markdown_table(head, rows)


def _by_kind(scores: Sequence[Score]) -> list[str]:
    kind, found, amplitude, separation = (
        np.array([value for one in scores for value in getattr(one, name)])
        for name in ("kind", "is_found", "amplitude", "separation")
    )
    head = ["kind", "all", *range_names(AMPLITUDES, ""), *range_names(SEPARATIONS, " sd")]
    rows = []
    for name in [*sorted(set(kind.tolist()))]:
        own = kind == name
        cells = [_share(found[own])]
        for values, edges in ((amplitude, AMPLITUDES), (separation, SEPARATIONS)):
            cells += [_share(found[own & (values >= low) & (values < high)]) for low, high in pairwise(edges)]
        rows.append([name, *cells])
    return markdown_table(head, rows)


def range_names(edges: Sequence[float], unit: str) -> list[str]:
    """Return names of the ranges between edges, the last of which may be infinite."""
    pairs = pairwise(edges)
    return [f"{low:g}-{high:g}{unit}" if np.isfinite(high) else f"{low:g}{unit} or more" for low, high in pairs]


def _share(found: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> str:
    return f"{found.mean():.2f} of {found.size}" if found.size else "-"


def _precision(scores: Sequence[Score]) -> list[str]:
    pairs = Counter(pair for one in scores for pair in one.named)
    rows = []
    for kind in KINDS:
        true = Counter({name: count for (own, name), count in pairs.items() if own == kind})
        if not true:
            continue
        accepted = ACCEPTED.get(kind, ())
        right = sum(true[name] for name in accepted)
        told = sum(count for (_, name), count in pairs.items() if name in accepted)
        precision, recall = (f"{right / total:.2f}" if accepted and total else "-" for total in (true.total(), told))
        rows.append([kind, precision, recall, ", ".join(f"{name} {count}" for name, count in true.most_common())])
    return markdown_table(["kind by rule", "precision", "recall", "true kinds"], rows)


def _quiet(quiet: Mapping[int, Sequence[int]]) -> list[str]:
    rows = [[str(seed), str(len(found)), f"{np.mean(found):.3f}"] for seed, found in quiet.items()]
    rows.append(["mean", "", _mean([float(np.mean(found)) for found in quiet.values()])])
    return markdown_table(["seed", "observations", "false pulses an observation"], rows)


def _errors(results: PulseResults) -> list[str]:
    rows = []
    for archive, detectors in results.scores.items():
        scores = detectors[CATALOGUE].values()
        together = {name: [value for one in scores for value in one.isolated[name]] for name in ERRORS}
        cells = ["{:.1f} ± {:.1f}".format(*median_and_spread(values)) for values in together.values()]
        rows.append([archive, str(len(together["onset"])), *cells])
    return markdown_table(["archive", "strokes", *(f"{name} ({unit})" for name, unit in ERRORS.items())], rows)


def _fluences(results: PulseResults) -> list[str]:
    rows = []
    for archive, detectors in results.scores.items():
        for is_blend in (False, True):
            values = [value for one in detectors[CATALOGUE].values() for value in one.in_flashes[is_blend]]
            within = np.mean(np.abs(values) <= 20) if values else np.nan
            middle, spread = median_and_spread(values)
            told = "blend" if is_blend else "none"
            rows.append([archive, told, str(len(values)), f"{middle:.1f} ± {spread:.1f}", f"{within:.2f}"])
    return markdown_table(["archive", "flag", "pulses", "error (%)", "share within 20 %"], rows)


def _real(real: Mapping[str, Table]) -> list[str]:
    rows = []
    for number, table in real.items():
        name, prototype = PROTOTYPE.get(number, (number, "-"))
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(table["kind"].tolist()).most_common())
        shared = table[table["kind"] == CORRELATED]
        times = ", ".join(f"{row['peak_ms']:.1f} ms ({row['width_ms']:.1f} ms wide)" for row in shared)
        rows.append([name, str(len(table)), kinds or "-", times or "-", prototype])
    return markdown_table(["frame", "pulses", "kinds by rule", "correlated ones", "what a prototype found"], rows)


def _mean(values: Sequence[float], digits: int = 3) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"
