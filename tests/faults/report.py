"""What came of a campaign's cases."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SURVIVED = ("read", "rejected", "refused", "same")


@dataclass(frozen=True)
class Case:
    """One case: the kind of its fault, what was done, what came of it, and what went wrong if anything.

    ``outcome`` is one of ``SURVIVED``, or 'failed'.
    """

    kind: str
    told: str
    outcome: str
    detail: str = ""
    part: str = ""
    number: int = -1

    def __str__(self) -> str:
        return " ".join(f"{self.part} {self.number}, {self.kind}: {self.told}: {self.detail}".split())

    @property
    def survived(self) -> bool:
        return self.outcome in SURVIVED


def as_table(cases: Sequence[Case]) -> str:
    """Make a Markdown table of the cases: tried, survived, failed, by part and kind."""
    outcomes = [name for name in SURVIVED if any(case.outcome == name for case in cases)]
    lines = [
        f"| part | kind | tried | survived | failed | {' | '.join(outcomes)} |",
        "|---|---|" + "---:|" * (3 + len(outcomes)),
    ]
    parts = list(dict.fromkeys(case.part for case in cases))
    for part in parts:
        of_part = [case for case in cases if case.part == part]
        for kind in sorted({case.kind for case in of_part}):
            lines.append(_row(part, kind, [case for case in of_part if case.kind == kind], outcomes))
        lines.append(_row(f"**{part}**", "all", of_part, outcomes))
    lines.append(_row("**all**", "", cases, outcomes))
    return "\n".join(lines)


def _row(part: str, kind: str, cases: Sequence[Case], outcomes: Sequence[str]) -> str:
    survived = sum(case.survived for case in cases)
    counts = [str(sum(case.outcome == name for case in cases)) for name in outcomes]
    return f"| {part} | {kind} | {len(cases)} | {survived} | {len(cases) - survived} | {' | '.join(counts)} |"


def failures(cases: Sequence[Case], seed: int) -> list[str]:
    """Make a line for each failed case, with the command that repeats it."""
    repeat = f"python -m tests.faults --seed {seed} --only"
    return [f"{case} ({repeat} {case.part} --case {case.number})" for case in cases if not case.survived]


def write_report(folder: Path, cases: Sequence[Case], seed: int, share: float, seconds: float) -> None:
    """Write ``faults.md`` and ``faults.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    title = f"# Campaign of faults, seed {seed}, {share:.3g} of the whole, {seconds:.0f} s"
    failed = failures(cases, seed)
    listing = "\n".join(f"- {line}" for line in failed) or "none"
    text = f"{title}\n\n{as_table(cases)}\n\n## Failed\n\n{listing}\n"
    (folder / "faults.md").write_text(text, encoding="utf-8", errors="backslashreplace")
    content = {"seed": seed, "share": share, "seconds": round(seconds, 1), "cases": [asdict(case) for case in cases]}
    (folder / "faults.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
