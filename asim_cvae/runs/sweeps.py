"""Names of a sweep's run folders."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf


def swept_settings(sweep_dir: str, overrides: Sequence[str]) -> str:
    """What tells a job apart from the others of its sweep, in letters that Hydra takes in ``weights=`` and ``resume=``.

    Args:
        sweep_dir: where Hydra has put ``multirun.yaml``, with what was asked for.
        overrides: of the job.

    Returns:
        Such as ``model.optimizer.lr-0.001_seed-1``; '' where nothing but the experiment is swept.
    """
    multirun = OmegaConf.load(Path(sweep_dir) / "multirun.yaml")
    asked = OverridesParser.create().parse_overrides(list(multirun.hydra.overrides.task))
    fixed = {override.get_key_element() for override in asked if not override.is_sweep_override()}
    pairs = (override.partition("=") for override in sorted(overrides))
    swept = (f"{key.lstrip('+~')}-{value}" for key, _, value in pairs if key not in fixed and key != "+experiment")
    return re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(swept))
