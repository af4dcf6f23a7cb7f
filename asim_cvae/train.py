"""``python -m asim_cvae.train``: train, score and draw one experiment, or a sweep of them with ``-m``."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from asim_cvae.cli import command
from asim_cvae.targets import check_targets


@command("train")
def main(config: DictConfig) -> None:
    """Train the configured experiment in Hydra's run folder, or go on with a run in its own."""
    # Lightning takes seconds to import: --help and a mistyped setting do not wait for it.
    from asim_cvae.runs.resume import resumed_config
    from asim_cvae.training import train

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if config.resume is None:
        config.name = hydra.runtime.choices.get("experiment") or config.name
    else:
        config = resumed_config(folder, config, hydra.overrides.task)
        check_targets(config, config.trust)
    train(config, folder)


if __name__ == "__main__":
    main()
