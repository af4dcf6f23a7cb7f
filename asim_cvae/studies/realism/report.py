"""Write the realism report: a Markdown page with figures, and its results as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.markdown import markdown_table
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.scoring.table import percent
from asim_cvae.studies.realism import thesis_weights as weights
from asim_cvae.studies.realism.forest import Separability
from asim_cvae.studies.realism.real_frames import FEWEST, Comparison
from asim_cvae.studies.realism.thesis_weights import Agreement, Verdict, verdict

EASIEST, HARDEST = 0.99, 0.90
"""Range in which a random forest's macro F1 should lie: labels that are predictable, but not trivially so."""


class Report:
    """Collects the sections of a report, and writes them into ``folder`` as ``report.md`` and ``realism.json``.

    Figures are written at once, as their sections are added.
    """

    def __init__(self, folder: Path, simulator: str, seeds: Sequence[int]) -> None:
        self.folder = folder
        self.results: dict[str, Any] = {"simulator": simulator, "seeds": list(seeds)}
        self._lines = [
            f"# How real are the simulated data? ({simulator})",
            "",
            f"Simulated frames are from seed {seeds[0]}; those that the weights are scored on are from seeds",
            f"{', '.join(map(str, seeds))}. The simulator's parameters were fitted, on seeds from 100 on, to the same",
            "real frames, published table and label proportions that it is compared with here. Agreement therefore",
            "shows that physical parameters can reproduce them; it is not an independent test.",
        ]

    def add_physics(self, figure: Figure) -> None:
        """Add the figure of the simulated physics."""
        self._section("What is simulated", [self._figure(figure, "physics_simulated.png", "simulated pulses")])

    def add_skipped(self, title: str, reason: str) -> None:
        """Add a section that says why it is empty."""
        self._section(title, [f"Skipped: {reason}."])

    def add_frames(self, comparisons: Sequence[Comparison], frames: Figure, ranks: Figure) -> None:
        """Add the comparison of real frames with simulated ones."""
        valued = [c for c in comparisons if c.has_value]
        outside = [c for c in valued if not c.is_inside]
        without = [f"{c.frame} {c.statistic}" for c in comparisons if not c.has_value]
        self.results["real_frames"] = {
            "comparisons": len(valued),
            "without_value": without,
            "outside": [{"frame": c.frame, "statistic": c.statistic, "rank": c.rank} for c in outside],
        }
        lines = [
            "Real frames, digitised from published figures, are compared with simulated frames of their class that",
            "were treated in the same way (drawn, points that cannot be seen dropped, interpolated). Of",
            f"{len(valued)} comparisons of levels, correlations, spikes and pulses of each photometer, {len(outside)}",
            "lie outside the central 95 % of the simulated values; one in twenty, that is",
            f"{0.05 * len(valued):.0f}, is expected to. The statistics of a frame are not independent.",
            "",
            *markdown_table(
                ["frame", "statistic", "real", "central 95 % of simulated", "share below"], map(_outside_row, outside)
            ),
            "",
            f"{len(without)} comparisons have no value, as the real frame has no spike or pulse there, or fewer than",
            f"{FEWEST} simulated frames have one: {', '.join(without)}.",
            "",
            self._figure(ranks, "ranks_among_simulated.png", "rank of each real value among the simulated ones"),
            self._figure(frames, "frames_real_and_simulated.png", "real frames beside simulated ones"),
        ]
        self._section("Real frames among simulated ones", lines)

    def add_weights(self, agreements: Sequence[Agreement], missing: Sequence[str], figure: Figure) -> None:
        """Add the scores of the published weights; ``missing`` are the experiments whose weights are not there."""
        plain, control = verdict(agreements, shuffled=False), verdict(agreements, shuffled=True)
        self.results["thesis_weights"] = {
            name: {**judged.__dict__, "holds": judged.holds}
            for name, judged in (("simulated", plain), ("shuffled", control))
        }
        head = ["experiment", "MDCC / published", "certainty difference", "purest, published", "purest, simulated",
                "difference, shuffled", "purest, shuffled"]  # fmt: skip
        lines = [
            "The ten published weights are scored on simulated labelled frames as in the thesis (k-means on one sample",
            "of each posterior) and compared with its Table 1. Values are medians over seeds; certainties are sorted,",
            "their differences in percentage points. MDCC does not depend on labels, so that shuffling them leaves it",
            "unchanged. Averages are compared, not the order of the ten experiments, which single clusters decide.",
            "",
            *markdown_table(head, map(_agreement_row, agreements)),
            "",
            *([f"Skipped, as their weights are missing: {', '.join(missing)}.", ""] if missing else []),
            _verdict_line("Simulated labels", plain, len(agreements)),
            "",
            _verdict_line("The same labels shuffled, a control that must not agree", control, len(agreements)),
            "",
            self._figure(figure, "certainties_simulated.png", "certainties of the clusters"),
        ]
        self._section("The thesis's weights on simulated frames", lines)

    def add_forest(self, scores: Separability) -> None:
        """Add the scores of the random forest."""
        self.results["forest"] = {
            "macro_f1": scores.macro_f1,
            "without_rule": scores.without_rule,
            "clear": scores.clear,
            "ambiguous": scores.ambiguous,
            "ambiguous_share": scores.ambiguous_share,
        }
        rows = ([name, *map(str, row)] for name, row in zip(CLASSES, scores.confusion, strict=True))
        lines = [
            "A random forest predicts the simulated labels of the first seed from hand-made features of the counts",
            "(levels, correlations, spikes, pulses, peaks, and what the labelling rule measures on smoothed counts).",
            f"Cross-validated by observation, its macro F1 is {scores.macro_f1:.3f} (wanted: {HARDEST:.2f} to",
            f"{EASIEST:.2f}): {scores.clear:.3f} on clear frames, {scores.ambiguous:.3f} on the",
            f"{percent(scores.ambiguous_share)} % that are ambiguous. Without the rule's measures it is",
            f"{scores.without_rule:.3f}.",
            "",
            *markdown_table(["simulated label", *(f"predicted {name}" for name in CLASSES)], rows),
        ]
        self._section("Labels neither trivial nor arbitrary", lines)

    def write(self) -> Path:
        """Write the page and the JSON file; returns the page's path."""
        write_json(self.folder / "realism.json", self.results)
        page = self.folder / "report.md"
        with atomic_write(page) as partial:
            partial.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
        return page

    def _section(self, title: str, lines: Sequence[str]) -> None:
        self._lines += ["", f"## {title}", "", *lines]

    def _figure(self, figure: Figure, name: str, text: str) -> str:
        with atomic_write(self.folder / name) as partial:
            figure.savefig(partial, format="png", dpi=110)
        return f"![{text}]({name})"


def _outside_row(c: Comparison) -> list[str]:
    low, high = c.range
    return [c.frame, c.statistic, f"{c.real:.3g}", f"{low:.3g} to {high:.3g}", f"{c.rank:.3f}"]


def _agreement_row(a: Agreement) -> list[str]:
    return [
        a.experiment,
        f"{a.mdcc_ratio(a.simulated):.2f}",
        f"{a.certainty_difference(a.simulated):.1f}",
        f"{a.published.certainties[0]}",
        f"{a.purest(a.simulated):.0f}",
        f"{a.certainty_difference(a.shuffled):.1f}",
        f"{a.purest(a.shuffled):.0f}",
    ]


def _verdict_line(subject: str, judged: Verdict, experiments: int) -> str:
    return (
        f"**{subject}: {'agree' if judged.holds else 'do not agree'}.** Mean MDCC within "
        f"{100 * weights.MDCC_TOLERANCE:g} % of the published: {judged.mdcc_within} of {experiments} (wanted: "
        f"{weights.ENOUGH_EXPERIMENTS}). Certainties within {weights.CERTAINTY_TOLERANCE:g} points: "
        f"{judged.certainties_within} of {experiments} (wanted: {weights.ENOUGH_EXPERIMENTS}). Purest cluster, mean: "
        f"{judged.purest:.1f} %, published {judged.purest_published:.1f} % (wanted: within "
        f"{weights.PUREST_TOLERANCE:g} points)."
    )
