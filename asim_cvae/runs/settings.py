"""Configurations as flat settings, to compare runs by."""

from collections.abc import Mapping
from typing import Any

CHANGEABLE = (
    *("trainer.max_epochs", "trainer.accelerator", "trainer.enable_progress_bar"),
    *("data.cache", "data.memory_gb", "data.num_workers", "data.file_workers", "model.cuda_graph"),
)
"""What may differ when a run goes on: epochs, device and loader settings."""

INCIDENTAL = (
    *CHANGEABLE,
    *("name", "seed", "resume", "figures", "max_restarts", "trust", "data.store", "model.optimizer.fused"),
    *("trainer.strategy", "trainer.use_distributed_sampler", "trainer.enable_model_summary"),
    *("trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "trainer._target_"),
)
"""What is named elsewhere, as labelled frames are in the scores, or changes nothing in a run's result."""


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flat_settings(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def named_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``experiment_settings`` that people compare runs by: no class names, nothing of scoring and splits."""
    hidden = ("scoring.", "data.simulation.rule.", "data.split_seed", "data.validation_fraction")
    return {name: v for name, v in settings.items() if not name.startswith(hidden) and not name.endswith("_")}


def experiment_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's configuration makes the experiment, the data that it is trained on among it."""
    return {
        name: value
        for name, value in flat_settings(config).items()
        if name not in INCIDENTAL and not name.startswith("data.ground_truth.")
    }
