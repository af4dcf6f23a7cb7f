"""``python -m asim_cvae.triage_report``: measure how well observations are sifted: pulses, scores, noise, labels."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command
from asim_cvae.runs.pretrained import located

if TYPE_CHECKING:
    from asim_cvae.studies.triage.judged import Judged
    from asim_cvae.studies.triage.report import Section
    from asim_cvae.triaging.origin import Judge

log = logging.getLogger(__name__)

_PULSES = ("evaluation", "shifted", "rare")
_LABELLED = ("evaluation", "shifted")


def _check(config: DictConfig) -> None:
    for archive in config.archives.values():
        instantiate(archive)
    if set(config.parts) - {"pulses"}:
        _check_weights(config)
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; null leaves what needs it out")


def _check_weights(config: DictConfig) -> None:
    from asim_cvae.recognition.heads import has_heads  # torch takes seconds to import
    from asim_cvae.triaging.reference import REFERENCE, read_reference

    for weights in config.weights:
        folder = located(Path(weights))
        if not has_heads(folder):
            raise SettingError(
                f"weights={weights}: holds no heads; python -m asim_cvae.heads out={weights} trains them"
            )
        try:
            reference = read_reference(folder)
        except InputError as error:
            raise SettingError(f"weights={error}") from error
        if reference.model is None or reference.heads is None:
            raise SettingError(
                f"weights={weights}: its {REFERENCE} does not say what frames usually look like to model and heads; "
                "train a model and then its heads, which write it"
            )


class _Report:
    """Makes the parts of the report; what several need is measured once."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.archives = {str(name): instantiate(archive) for name, archive in config.archives.items()}
        self.reference = None if config.reference is None else Path(config.reference)

    def pulses(self) -> "Section":
        from asim_cvae.studies.triage.pulse_study import study_pulses
        from asim_cvae.studies.triage.report import pulse_section

        archives = {name: self.archives[name] for name in _PULSES}
        seeds = {name: list(self.config.seeds[name]) for name in _PULSES}
        return pulse_section(study_pulses(archives, seeds, self.config.quiet, self.reference))

    def scores(self) -> "Section":
        from asim_cvae.studies.triage.anomaly_study import study_scores

        dark, drawn = {str(name): count for name, count in self.config.dark.items()}, self.config.drawn
        return study_scores(self._judges, self._judged, self.archives["natural"], dark, drawn)

    def sifting(self) -> "Section":
        from asim_cvae.studies.triage.sifting_study import study_sifting

        archives = {name: self.archives[name] for name in _LABELLED}
        seeds = {str(name): list(each) for name, each in self.config.seeds.sifting.items()}
        return study_sifting(self._judges, self._judged, archives, seeds, self.config.draws, self.reference)

    def labels(self) -> "Section":
        from asim_cvae.studies.triage.label_study import study_labels

        archives = [replace(self.archives["shifted"], seed=seed) for seed in self.config.seeds.labels]
        asked = self.config.labels
        return study_labels(self._judges, archives, asked.pool, asked.held_out, list(asked.sizes), list(asked.seeds))

    @cached_property
    def _judges(self) -> "dict[str, Judge]":
        from asim_cvae.runs.export import weights_file
        from asim_cvae.triaging.origin import Origin, make_judge

        rare = tuple(self.config.rare)
        return {path: make_judge(Origin(weights_file(Path(path)), None, (), 1.0, rare)) for path in self.config.weights}

    @cached_property
    def _judged(self) -> "dict[str, tuple[Judged, Judged]]":
        """What each model tells of natural frames, and of frames of observations that hold rare kinds."""
        from asim_cvae.studies.triage.judged import judge_archive

        told = (judge_archive(list(self._judges.values()), self.archives[name]) for name in ("natural", "many"))
        return dict(zip(self._judges, zip(*told, strict=True), strict=True))


_PARTS: "dict[str, Callable[[_Report], Section]]" = {
    "pulses": _Report.pulses,
    "scores": _Report.scores,
    "sifting": _Report.sifting,
    "labels": _Report.labels,
}


@command("triage_report", _check)
def main(config: DictConfig) -> None:
    """Write the page."""
    from asim_cvae.studies.triage.report import write_report  # SciPy and matplotlib take seconds to import

    report = _Report(config)
    log.info("%s", write_report(Path(config.out), [_PARTS[name](report) for name in config.parts]))


if __name__ == "__main__":
    main()
