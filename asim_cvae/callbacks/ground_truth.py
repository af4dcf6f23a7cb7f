"""Score a run when its training ends: encode the ground truth, cluster its latents, export the model and draw."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from asim_cvae.callbacks.run import RunCallback
from asim_cvae.data.datamodule import MMIADataModule
from asim_cvae.figures.dashboard import add_layout, add_pictures, add_projector, add_scores
from asim_cvae.figures.pictures import Pictures
from asim_cvae.model.module import CVAEModule
from asim_cvae.runs.checkpoints import CHECKPOINT_KEY
from asim_cvae.runs.curves import tell_overfitting
from asim_cvae.runs.export import TrainedModel, describe_model, export_model, write_results
from asim_cvae.runs.folder import METRICS, read_metrics
from asim_cvae.scoring.evaluation import Evaluation, evaluate, fit_description, score_saved
from asim_cvae.scoring.table import closing_line, format_scores
from asim_cvae.triaging.learning import evenly, learn_of_model
from asim_cvae.triaging.reference import Reference, write_reference

_BATCH = 100  # frames

log = logging.getLogger(__name__)


class GroundTruthScoring(RunCallback):
    """Writes scores.json, latents.npz, model.safetensors, model.json, reference.json and figures/ into the run folder.

    It also writes scores, figures and latents for TensorBoard.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lay out TensorBoard's charts."""
        if isinstance(trainer.logger, TensorBoardLogger):
            add_layout(trainer.logger.experiment)
            trainer.logger.hparams.update(self.run.settings)  # Lightning writes them into hparams.yaml

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add to each checkpoint the description from which its model is made again."""
        module, data = _parts(trainer, pl_module)
        epochs = trainer.fit_loop.epoch_progress.state_dict()["current"]["processed"]  # counts the epoch that is ending
        checkpoint[CHECKPOINT_KEY] = describe_model(module, data.representation, self._run_info(epochs))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score the module as it is when training ends."""
        if not trainer.is_global_zero:
            return
        module, data = _parts(trainer, pl_module)
        folder = self.run.folder
        run_info = self._run_info(trainer.current_epoch)
        experiment = str(run_info["experiment"])
        fit_description(module, data)
        evaluation = evaluate(module, data, self.run.protocol)
        clusters = evaluation.clusters_to_save()
        evaluation = score_saved(evaluation, clusters)
        export_model(folder, describe_model(module, data.representation, run_info), module, clusters)
        _write_reference(folder, TrainedModel(module, data.representation, run_info), data)
        drawn: list[Path] = []
        if self.run.figures is not None:
            pictures = Pictures(evaluation, module, data.representation, experiment)
            drawn = [*pictures.write(folder, self.run.figures), *pictures.write_training_curves(folder)]
        self._show(trainer, evaluation, evaluation.as_dict(run_info), drawn)
        scores = write_results(folder, evaluation, run_info)  # last, as a run with scores counts as finished
        if told := tell_overfitting(read_metrics(folder / METRICS)):
            log.warning(told)
        log.info("%s\n%s", format_scores(scores), closing_line(scores, folder))

    def _show(
        self, trainer: pl.Trainer, evaluation: Evaluation, scores: Mapping[str, Any], pictures: Sequence[Path]
    ) -> None:
        """Write scores, figures and latents for TensorBoard, if the run logs to it."""
        logger = trainer.logger
        if not isinstance(logger, TensorBoardLogger):
            return
        identity = {name: scores[name] for name in ("experiment", "seed")}
        add_scores(logger, {**identity, **self.run.settings}, scores)
        add_pictures(logger.experiment, pictures, trainer.global_step)
        add_projector(logger.experiment, evaluation)
        logger.experiment.flush()

    def _run_info(self, epochs: int) -> Mapping[str, Any]:
        return {**self.run.info, "epochs": epochs}


def _write_reference(folder: Path, model: TrainedModel, data: MMIADataModule) -> None:
    """Write what training frames look like to a model, for triage."""
    rows = evenly(data.train_rows)
    batches = np.array_split(rows, -(-len(rows) // _BATCH))
    of_model = learn_of_model(model, (data.store.frames(batch) for batch in batches))
    write_reference(folder, Reference(of_model))


def _parts(trainer: pl.Trainer, pl_module: pl.LightningModule) -> tuple[CVAEModule, MMIADataModule]:
    """Return the module and the data module of a run, by their own types."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(pl_module, CVAEModule) or not isinstance(data, MMIADataModule):
        raise TypeError("GroundTruthScoring needs a CVAEModule and an MMIADataModule")
    return pl_module, data
