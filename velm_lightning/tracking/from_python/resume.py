"""Finds the run and the checkpoint from which ``fit`` continues."""

from __future__ import annotations

from pathlib import Path

from velm_lightning.tracking.checkpoint_files import newest_usable
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.run_names import find_run
from velm_lightning.types import InputError

AUTO = "auto"


def resume_run(resume: str | Path | Run, run: Run, launched: Run | None, runs: str | Path, config: str) -> Path | None:
    """Let ``run`` be the run that is continued, and return the checkpoint to start from.

    Args:
        resume: ``auto`` for the newest unfinished run of the experiment with the same settings; or a run, its folder or
            id, ``latest``, or a checkpoint.
        run: The new run, which is moved to the folder of the other one.
        launched: The run of the process that launched this one, which has moved already; None in that process.
        runs: Folder of all runs.
        config: The settings, as text of ``config.yaml``.

    Returns:
        The checkpoint. None if ``auto`` has found no run, or one that has no checkpoint yet and starts again.

    Raises:
        InputError: There is no such run, or it has no checkpoint to resume from.
    """
    named = Path(resume) if isinstance(resume, str | Path) and Path(resume).suffix == ".ckpt" else None
    if launched is not None:
        return named or newest_usable(launched.folder)
    if resume == AUTO:
        unfinished = Run.unfinished(Path(runs), run.folder.parent.name, config)
        if unfinished is None:
            return None
        run.move_to(unfinished.folder)
        return newest_usable(run.folder)
    folder = resume.folder if isinstance(resume, Run) else find_run(resume, runs)
    checkpoint = named or newest_usable(folder)
    if checkpoint is None:
        raise InputError(f"{folder} has no checkpoint to resume from: call velm.fit without `resume`")
    run.move_to(folder)
    return checkpoint
