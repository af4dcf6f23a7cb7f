"""Train, and get a signal within a step of the second epoch: ``python -m tests.interrupted NUMBER STEP ARGUMENTS``."""

import os
import runpy
import sys
from typing import Any

import pytorch_lightning as pl

from asim_cvae.callbacks.checkpoints import RunCheckpoints


def _train(number: str, step: str, *arguments: str) -> None:
    def send(self: RunCheckpoints, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, int(step)):
            os.kill(os.getpid(), int(number))

    RunCheckpoints.on_train_batch_start = send  # type: ignore[method-assign]
    sys.argv = ["asim_cvae.train", *arguments]
    runpy.run_module("asim_cvae.train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _train(*sys.argv[1:])
