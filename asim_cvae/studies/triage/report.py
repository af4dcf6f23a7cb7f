"""Write the report on the tools that sift observations."""

from dataclasses import asdict
from pathlib import Path

from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.studies.triage.pulse_figures import draw_pulses
from asim_cvae.studies.triage.pulse_page import pulse_lines
from asim_cvae.studies.triage.pulse_study import PulseResults


def write_report(out: Path, pulses: PulseResults) -> Path:
    """Write ``triage.md``, its numbers ``triage.json`` and its figures into the folder ``out``; returns the page."""
    draw_pulses(out, pulses)
    scores = {
        archive: {name: {str(seed): asdict(one) for seed, one in by_seed.items()} for name, by_seed in each.items()}
        for archive, each in pulses.scores.items()
    }
    quiet = {str(seed): list(found) for seed, found in pulses.quiet.items()}
    numbers = {"scores": _plain(scores), "quiet": quiet}
    write_json(out / "triage.json", {"simulated": True, "pulses": numbers})
    page = out / "triage.md"
    lines = ["# How well observations are sifted (simulated)", "", *pulse_lines(pulses, "")]
    with atomic_write(page) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def _plain(value: object) -> object:
    """Return a value whose mappings have text as keys, as JSON needs them."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value
