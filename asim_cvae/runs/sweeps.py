"""Name the run folders of a sweep."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

_LONGEST = 200  # file systems take 255 bytes


def swept_settings(sweep_dir: str, overrides: Sequence[str]) -> str:
    """Return a name for a job's folder, made of the settings that differ between the jobs of its sweep.

    It holds letters, digits and ``._-`` only, so that the folder can be given to ``weights=`` and ``resume=`` unquoted,
    and 200 of them at most.

    Args:
        sweep_dir: folder of the sweep, in which Hydra has written ``multirun.yaml`` with the sweep's overrides.
        overrides: overrides of the job.

    Returns:
        A name such as ``model.optimizer.lr-0.001_seed-1``; '' if only the experiment is swept, as a parent folder has
        its name.
    """
    multirun = OmegaConf.load(Path(sweep_dir) / "multirun.yaml")
    sweep_overrides = OverridesParser.create().parse_overrides(list(multirun.hydra.overrides.task))
    fixed = {override.get_key_element() for override in sweep_overrides if not override.is_sweep_override()}
    pairs = (override.partition("=") for override in sorted(overrides))
    swept = (f"{key.lstrip('+~')}-{value}" for key, _, value in pairs if key not in fixed and key != "+experiment")
    return _short(re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(swept)))


def _short(name: str) -> str:
    """Return a name of 200 characters at most: the end of a longer one becomes a digest, which tells it from others."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - len(digest) - 1]}-{digest}"
