"""The realism report: a page with figures, and the same as JSON."""

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
"""Between these a random forest's macro F1 is to lie: labels that can be told, but are not given away."""


class Report:
    """Collects the parts of a report and writes them into ``folder`` as ``report.md`` and ``realism.json``."""

    def __init__(self, folder: Path, simulator: str, seeds: Sequence[int]) -> None:
        self.folder = folder
        self.results: dict[str, Any] = {"simulator": simulator, "seeds": list(seeds)}
        self._lines = [
            f"# How real are the simulated data? ({simulator})",
            "",
            f"Simulated frames are of seed {seeds[0]}, those that the weights are scored on of seeds",
            f"{', '.join(map(str, seeds))}. The simulator's parameters were fitted, on seeds from 100 on, to the same",
            "real frames, published table and label proportions that it is compared with here: that they agree shows",
            "that physical parameters can make them agree, and is no independent test.",
        ]

    def add_physics(self, figure: Figure) -> None:
        """What is simulated."""
        self._section("What is simulated", [self._figure(figure, "physics_simulated.png", "simulated pulses")])

    def add_skipped(self, title: str, reason: str) -> None:
        """A part that could not be made, and why."""
        self._section(title, [f"Left out: {reason}."])

    def add_frames(self, comparisons: Sequence[Comparison], frames: Figure, ranks: Figure) -> None:
        """Real frames among simulated ones."""
        valued = [c for c in comparisons if c.has_value]
        outside = [c for c in valued if not c.is_inside]
        without = [f"{c.frame} {c.statistic}" for c in comparisons if not c.has_value]
        self.results["real_frames"] = {
            "comparisons": len(valued),
            "without_value": without,
            "outside": [{"frame": c.frame, "statistic": c.statistic, "rank": c.rank} for c in outside],
        }
        lines = [
            "Real frames, read off published figures, among simulated frames of their class that went through the same",
            "(drawn, points that do not show left out, interpolated). Levels, correlations, spikes and pulses of each",
            f"photometer: {len(valued)} comparisons, of which {len(outside)} lie outside the central 95 % of the",
            f"simulated values. One in twenty, {0.05 * len(valued):.0f}, is allowed for; statistics of a frame",
            "are not independent.",
            "",
            *markdown_table(
                ["frame", "statistic", "real", "central 95 % of simulated", "share below"], map(_outside_row, outside)
            ),
            "",
            f"{len(without)} comparisons have no value, as the frame has no spike or pulse there, or fewer than",
            f"{FEWEST} simulated frames have one: {', '.join(without)}.",
            "",
            self._figure(ranks, "ranks_among_simulated.png", "where each real value lies among the simulated ones"),
            self._figure(frames, "frames_real_and_simulated.png", "real frames beside simulated ones"),
        ]
        self._section("Real frames among simulated ones", lines)

    def add_weights(self, agreements: Sequence[Agreement], missing: Sequence[str], figure: Figure) -> None:
        """The published weights on simulated frames; ``missing``: experiments without weights."""
        plain, control = verdict(agreements, shuffled=False), verdict(agreements, shuffled=True)
        self.results["thesis_weights"] = {
            name: {**found.__dict__, "holds": found.holds}
            for name, found in (("simulated", plain), ("shuffled", control))
        }
        head = ["experiment", "MDCC / published", "certainty difference", "purest, published", "purest, simulated",
                "difference, shuffled", "purest, shuffled"]  # fmt: skip
        lines = [
            "The ten published weights on simulated labelled frames, scored as the thesis did (k-means on one sample",
            "of each latent), beside its Table 1. Medians over seeds; certainties sorted, in points. MDCC is made",
            "without labels: shuffling them leaves it as it is. Averages are compared here, not the order of the ten,",
            "which hangs on single clusters.",
            "",
            *markdown_table(head, map(_agreement_row, agreements)),
            "",
            *([f"Left out, their weights are not there: {', '.join(missing)}.", ""] if missing else []),
            _verdict_line("Simulated labels", plain, len(agreements)),
            "",
            _verdict_line("The same labels shuffled, the control that has to fail", control, len(agreements)),
            "",
            self._figure(figure, "certainties_simulated.png", "certainties of the clusters"),
        ]
        self._section("The thesis's weights on simulated frames", lines)

    def add_forest(self, found: Separability) -> None:
        """How hard the labels are."""
        self.results["forest"] = {
            "macro_f1": found.macro_f1,
            "without_rule": found.without_rule,
            "clear": found.clear,
            "ambiguous": found.ambiguous,
            "ambiguous_share": found.ambiguous_share,
        }
        rows = ([name, *map(str, row)] for name, row in zip(CLASSES, found.confusion, strict=True))
        lines = [
            "A random forest on hand-made features of the counts (levels, correlations, spikes, pulses, peaks, and",
            "what the labelling rule would measure on smoothed counts), cross-validated by observation, of simulated",
            f"labels of the first seed: macro F1 {found.macro_f1:.3f} (wanted: {HARDEST:.2f} to {EASIEST:.2f});",
            f"{found.clear:.3f} on clear frames, {found.ambiguous:.3f} on the {percent(found.ambiguous_share)} %",
            f"that hang on a threshold. Without what the rule would measure: {found.without_rule:.3f}.",
            "",
            *markdown_table(["label, simulated", *(f"told {name}" for name in CLASSES)], rows),
        ]
        self._section("Neither given away nor arbitrary", lines)

    def write(self) -> Path:
        """Write both files; returns the page's path."""
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


def _verdict_line(what: str, found: Verdict, experiments: int) -> str:
    return (
        f"**{what}: {'agree' if found.holds else 'do not agree'}.** Mean MDCC within "
        f"{100 * weights.MDCC_TOLERANCE:g} % of the published: {found.mdcc_within} of {experiments} (wanted: "
        f"{weights.ENOUGH_EXPERIMENTS}). Certainties within {weights.CERTAINTY_TOLERANCE:g} points: "
        f"{found.certainties_within} of {experiments} (wanted: {weights.ENOUGH_EXPERIMENTS}). Purest cluster, mean: "
        f"{found.purest:.1f} %, published {found.purest_published:.1f} % (wanted: within "
        f"{weights.PUREST_TOLERANCE:g})."
    )
