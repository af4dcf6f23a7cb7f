"""``python -m asim_cvae.realism``: compare simulated frames with real ones and with published results."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import InputError
from asim_cvae.cli import command
from asim_cvae.scoring.published import PUBLISHED_TABLE
from asim_cvae.simulator.archive import SIMULATOR
from asim_cvae.studies.realism.forest import separability
from asim_cvae.studies.realism.plots import certainties_figure, frames_figure, physics_figure, ranks_figure
from asim_cvae.studies.realism.real_frames import REAL_FRAMES, compare_frames, read_real_frames
from asim_cvae.studies.realism.report import Report
from asim_cvae.studies.realism.samples import SimulatedFrames, simulated_frames
from asim_cvae.studies.realism.thesis_weights import WEIGHTS, compare_weights, missing_weights

_WEIGHTS_TITLE = "The thesis's weights on simulated frames"

log = logging.getLogger(__name__)


@command("realism")
def main(config: DictConfig) -> None:
    """Write the report; parts that need what the reference folder lacks are left out, and say so."""
    seeds: list[int] = list(config.seeds) if OmegaConf.is_list(config.seeds) else []
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"seeds={config.seeds}: give different seeds from 0 on, as seeds=[0,1,2]")
    if config.labelled < 2 or config.observations < 0:
        raise InputError("labelled must be 2 or more, observations 0 or more")
    rule = instantiate(config.rule)
    first, *others = seeds
    frames = simulated_frames(first, range(config.labelled + config.observations), rule, config.missing_rows)
    samples = {first: frames.of_observations(config.labelled)}
    samples |= {seed: simulated_frames(seed, range(config.labelled), rule, config.missing_rows) for seed in others}
    report = Report(Path(config.out), SIMULATOR, seeds)
    report.add_physics(physics_figure())
    reference = None if config.reference is None else Path(config.reference)
    _add_real_frames(report, reference, frames)
    _add_weights(report, reference, samples)
    report.add_forest(separability(frames, rule))
    log.info("%s", report.write())


def _add_real_frames(report: Report, reference: Path | None, simulated: SimulatedFrames) -> None:
    if reference is None or not (reference / REAL_FRAMES).is_file():
        report.add_skipped("Real frames among simulated ones", _lack(reference, REAL_FRAMES))
        return
    real = read_real_frames(reference / REAL_FRAMES)
    comparisons = compare_frames(real, simulated)
    report.add_frames(
        comparisons, frames_figure(real, simulated), ranks_figure([c for c in comparisons if c.has_value])
    )


def _add_weights(report: Report, reference: Path | None, samples: dict[int, SimulatedFrames]) -> None:
    if reference is None or not (reference / PUBLISHED_TABLE).is_file() or not (reference / WEIGHTS).is_dir():
        report.add_skipped(_WEIGHTS_TITLE, _lack(reference, f"{PUBLISHED_TABLE} and {WEIGHTS}"))
        return
    missing = missing_weights(reference)
    agreements = compare_weights(reference, samples)
    if not agreements:
        report.add_skipped(_WEIGHTS_TITLE, _lack(reference, f"weights of {PUBLISHED_TABLE}"))
        return
    report.add_weights(agreements, missing, certainties_figure(agreements))


def _lack(reference: Path | None, what: str) -> str:
    reason = f"{reference} holds no {what}" if reference else "no reference (or ASIM_CVAE_REFERENCE) is given"
    log.warning("left out a comparison: %s", reason)
    return reason


if __name__ == "__main__":
    main()
