"""COCO caption results: ``[{"image_id": 42, "caption": "a dog runs"}]``; ``--references`` names the caption files."""

from __future__ import annotations

from pathlib import Path

from velm_lightning.data.result_files import read_references, read_results
from velm_lightning.importing.rows import Choices, Imported, row_of
from velm_lightning.types import InputError


def read(path: Path, choices: Choices) -> Imported:
    """Read the captions; see ``formats``."""
    results = read_results(path)
    references = read_references(choices.references) if choices.references else results.references
    without = [key for key in results.captions if not references.get(key)]
    if without:
        raise InputError(
            f"{path}: image {without[0]!r} has no references: name the file of all reference captions by --references"
        )
    rows = [row_of(str(path), key, text, references[key], image=key) for key, text in results.captions.items()]
    return Imported([rows], scorer="captions")
