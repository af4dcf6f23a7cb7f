"""``python -m asim_cvae.train``: train, score and draw one experiment, or a sweep of them with ``-m``."""

import logging
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from asim_cvae.callbacks.ground_truth import GroundTruthScoring
from asim_cvae.callbacks.health import FailedTrainingError, TrainingHealth
from asim_cvae.command import command
from asim_cvae.errors import InputError
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
    data = instantiate(config.data, _partial_=True)(scaling=instantiate(config.scaling))
    for restart in range(config.max_restarts + 1):
        try:
            _fit(config, data, folder, restart)
            return
        except FailedTrainingError as error:
            log.warning("training failed: %s; restart %d of %d", error, restart + 1, config.max_restarts)
            for events in folder.glob("events.out.tfevents.*"):
                events.unlink()  # they would be drawn over those of the next try
    raise InputError(f"no initialisation could be trained, max_restarts={config.max_restarts}; try another seed")


def _fit(config: DictConfig, data: pl.LightningDataModule, folder: Path, restart: int) -> None:
    # A restart draws other weights, and the same ones whenever this run is made again.
    seed = config.seed if restart == 0 else int(np.random.SeedSequence((config.seed, restart)).generate_state(1)[0])
    pl.seed_everything(seed, workers=True, verbose=False)
    module = instantiate(config.model)
    training = {"experiment": config.name, "seed": config.seed, "restarts": restart}
    scoring = GroundTruthScoring(instantiate(config.scoring), training, config.figures)
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
        callbacks=[TrainingHealth(), scoring, checkpoints],
        logger=[TensorBoardLogger(folder, name="", version=""), CSVLogger(folder, name="", version="")],
    )
    trainer.fit(module, data)


if __name__ == "__main__":
    main()
