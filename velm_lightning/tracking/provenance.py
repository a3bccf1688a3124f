"""The origin of a run: the classes and arguments of its model, the versions of packages, and the commit."""

from __future__ import annotations

import platform
import subprocess
from typing import Any

from velm_lightning.io.configurable import to_config
from velm_lightning.io.packaged import installed_version


def summary_of(model: Any) -> dict[str, Any]:
    """Return the classes and arguments of a model without its vocabulary."""
    written = to_config(model)
    written["init_args"].pop("vocabulary", None)
    return dict(written)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect a result."""
    names = ("velm_lightning", "lightning", "torch", "torchvision", "transformers", "tokenizers", "numpy", "wandb")
    return {"python": platform.python_version()} | {name: installed_version(name) for name in names}


def git_revision() -> str | None:
    """Return the commit of the working folder, followed by ``+`` if files differ from it; None if there is none."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
