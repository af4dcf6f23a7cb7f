"""``python -m asim_cvae.train``: train, score and draw one experiment, or a sweep of them with ``-m``."""

import logging
from pathlib import Path

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from asim_cvae.callbacks.ground_truth import GroundTruthScoring
from asim_cvae.command import command
from asim_cvae.files import whole_file

log = logging.getLogger(__name__)


@command("train")
def main(config: DictConfig) -> None:
    """Train the configured experiment in Hydra's run folder."""
    hydra = HydraConfig.get()
    config.name = hydra.runtime.choices.get("experiment") or config.name
    train(config, Path(hydra.runtime.output_dir))


def train(config: DictConfig, folder: Path) -> None:
    """Fit, score and draw into ``folder``."""
    with whole_file(folder / "config.yaml") as partial:
        OmegaConf.save(config, partial, resolve=True)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = instantiate(config.data, _partial_=True)(scaling=instantiate(config.scaling))
    module = instantiate(config.model)
    scoring = GroundTruthScoring(instantiate(config.scoring), config.name, config.seed, config.figures)
    checkpoints = ModelCheckpoint(
        folder / "checkpoints",
        filename="best",
        monitor="val/elbo",
        mode="max",
        save_last=True,
        enable_version_counter=False,
    )
    trainer = instantiate(
        config.trainer,
        default_root_dir=str(folder),
        callbacks=[scoring, checkpoints],
        logger=[TensorBoardLogger(folder, name="", version=""), CSVLogger(folder, name="", version="")],
    )
    trainer.fit(module, data)


if __name__ == "__main__":
    main()
