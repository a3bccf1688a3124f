"""The record, the settings and the curves of a run, which may still be training."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from velm_lightning.compare.reading.files import Curves, read_curves, read_json, read_yaml
from velm_lightning.compare.reading.record import check_record
from velm_lightning.compare.reading.settings import flat, short_class
from velm_lightning.errors import InputError
from velm_lightning.io.plain import check_plain, number_of


class RunFiles:
    """A run, finished or not.

    Attributes:
        folder: its folder.
        record: its ``run.json``.
        config: its ``config.yaml`` with dotted keys; only the method for predictions from ``velm import``.

    Raises:
        InputError: If a file is missing or cannot be read, or none names the class of the model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_json(folder / "run.json")
        self.check()
        check_record(self.record)
        self.config = {"model.class_path": self._imported} if self._imported else dict(flat(self._settings()))
        if not self._class_path:
            raise InputError("neither config.yaml nor run.json names the class of its model (model.class_path)")

    def check(self) -> None:
        """Check that the record is of a run that the reader wants, before anything else is read."""

    def _settings(self) -> dict[str, Any]:
        settings = read_yaml(self.folder / "config.yaml")
        check_plain(settings, "config.yaml")
        return settings

    @property
    def _imported(self) -> str:
        """The name of the system whose predictions were imported; empty for a run of this package."""
        imported = self.record.get("imported")
        return str(imported.get("method") or "") if isinstance(imported, dict) else ""

    @property
    def ident(self) -> str:
        """The id of the run."""
        return str(self.record.get("id", self.folder.name))

    @property
    def seed(self) -> int:
        """The seed of training."""
        return int(self.record.get("seed", 0))

    @property
    def fusion(self) -> str:
        """The class of its model, without the module, or the name of the system whose predictions were imported."""
        return self._imported or short_class(self._class_path)

    @property
    def _class_path(self) -> str:
        model = self.record.get("model")
        recorded = model.get("class_path") if isinstance(model, dict) else None
        return str(self.config.get("model.class_path") or recorded or "")

    @property
    def data(self) -> str:
        """The data and scorer of its figures: fingerprints of the splits and the signature, as JSON."""
        return json.dumps([self.record.get("data"), self.record.get("signature")], sort_keys=True)

    def figure(self, split: str, name: str = "score") -> float:
        """Return a figure of a split, or NaN if there is none."""
        return number_of(((self.record.get("scores") or {}).get(split) or {}).get(name))

    @property
    def monitored(self) -> tuple[str, bool]:
        """The figure by which its checkpoint was chosen, and whether lower is better."""
        name = str(self.config.get("checkpoint.monitor") or "val/score")
        mode = self.config.get("checkpoint.mode")
        return name.removeprefix("val/"), mode == "min" if mode else name.endswith(("loss", "rank", "perplexity"))

    def cost(self, name: str) -> float:
        """Return a number of the record, or NaN if there is none."""
        return number_of(self.record.get(name))

    @cached_property
    def curves(self) -> Curves:
        """The steps and values of all logged metrics; empty if there is no ``metrics.csv``.

        Raises:
            InputError: If the file cannot be read.
        """
        return read_curves(self.folder / "metrics.csv")
