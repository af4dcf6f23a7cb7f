"""Flatten configurations into settings by which runs are compared."""

from collections.abc import Mapping
from typing import Any

CHANGEABLE = (
    *("trainer.max_epochs", "trainer.accelerator", "trainer.enable_progress_bar", "requeue"),
    *("data.cache", "data.memory_gb", "data.num_workers", "data.file_workers", "model.cuda_graph"),
)
"""Settings that may change when a run is resumed: epochs, device and data loading."""

INCIDENTAL = (
    *CHANGEABLE,
    *("name", "seed", "resume", "figures", "max_restarts", "trust", "data.store", "model.optimizer.fused"),
    *("trainer.strategy", "trainer.use_distributed_sampler", "trainer.enable_model_summary"),
    *("trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "trainer._target_"),
)
"""Settings by which experiments are not told apart: they do not change the result, or scores hold them as well."""


_PARTS = tuple(f"{part}._target_" for part in ("model.network", "model.likelihood", "representation"))
"""Class names by which people compare runs."""


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested configuration by dotted name; ``prefix`` begins each name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flat_settings(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def named_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by which people compare runs.

    Settings of scoring, splits and labelling rules are left out, and class names but those of the model's parts.

    Args:
        settings: the result of :func:`experiment_settings`.
    """
    hidden = ("scoring.", "data.simulation.rule.", "data.split_seed", "data.validation_fraction")
    return {
        name: value
        for name, value in settings.items()
        if name in _PARTS or not (name.startswith(hidden) or name.endswith("_"))
    }


def experiment_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that tell a run's experiment from others, including its training data."""
    return {
        name: value
        for name, value in flat_settings(config).items()
        if name not in INCIDENTAL and not name.startswith("data.ground_truth.")
    }
