"""Run as a job of SLURM: Lightning's own requeueing is off, and a job is started again where that is asked for."""

import logging
import os
import subprocess

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

log = logging.getLogger(__name__)


def cluster_plugins() -> list[SLURMEnvironment]:
    """Return the plugins of Lightning's Trainer.

    Within a job of SLURM, Lightning would save a checkpoint of its own in the middle of a step, and have the job start
    again whether that is asked for or not.
    """
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def requeue_job() -> None:
    """Have SLURM start this process's job again; where that fails, or there is no job, say so."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID")
    if job is None:
        log.warning("requeue=true: not a job of SLURM (SLURM_JOB_ID is not set)")
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
        log.info("SLURM starts job %s again", job)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        log.warning("requeue=true: SLURM does not start job %s again (%s)", job, str(reason).strip())
