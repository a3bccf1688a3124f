"""Requeues preempted SLURM jobs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess

from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

_log = logging.getLogger(__name__)


def requeue_signal(trainer: Trainer) -> int | None:
    """Return the signal that SLURM sends before a preemption; None outside of SLURM or with ``auto_requeue: false``."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    environment = environment or trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return None
    return environment.requeue_signal or signal.SIGUSR1


def requeue() -> None:
    """Requeue this job; its next start resumes the run."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        code = subprocess.run(["scontrol", "requeue", job], check=False).returncode
    except OSError as error:
        code = error.errno or 1
    result = "back in the queue" if not code else f"not put back into the queue (scontrol: {code}); queue it again"
    _log.warning("velm: job %s is %s", job, result)
