"""Comparing runs by their names, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.reading import read_runs
from velm_lightning.errors import InputError
from velm_lightning.io.argument_types import checked
from velm_lightning.tracking.run_names import find_run


@checked(runs="a list of runs, folders or ids")
def compare_runs(
    runs: Sequence[Any],
    *,
    split: str | None = None,
    metric: str | None = None,
    controls: Sequence[str] = (),
    rope: float = 0.0,
    folder: str | Path = "runs",
) -> Comparison:
    """Compare finished runs: means and 95 % intervals over seeds, paired tests, scores by group, costs.

    Runs that differ only in their seed are one method.

    Args:
        runs: Runs, folders or ids of runs, or folders of several runs.
        split: The split; by default ``test`` if all runs have it, else ``val``.
        metric: The metric to compare by; by default the one that the runs monitor.
        controls: Further classes that are controls; runs of one modality always are.
        rope: Differences up to this one are practically equal: adds the posteriors of all pairs (Benavoli et al. 2017).
        folder: Folder of all runs, in which ids are looked up.

    Returns:
        The comparison; ``table()`` shows it.

    Raises:
        InputError: There is no such run, or none can be compared.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> runs = []
        >>> for fusion in (velm.LateFusion, velm.TextOnly):
        ...     model = fusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(dim=8),
        ...                    task=velm.Classification(), vocabulary=data.vocabulary)
        ...     runs.append(velm.fit(model, data, max_epochs=1, accelerator="cpu", enable_progress_bar=False))
        >>> table = velm.compare_runs(runs).table()
        >>> "LateFusion" in table
        True
    """
    places = [_place(run, folder) for run in runs]
    if not places:
        raise InputError("there are no runs to compare: give at least one")
    return compare(*read_runs(places), split=split, controls=controls, metric=metric, rope=rope)


def _place(run: Any, folder: str | Path) -> Path:
    """Return the folder of a run, or a folder of runs."""
    if isinstance(run, str | Path):
        return Path(run) if Path(run).is_dir() else find_run(run, folder)
    if not hasattr(run, "folder"):
        raise InputError(f"a run is of type {type(run).__name__}: give a run, or its folder or id")
    return Path(run.folder)
