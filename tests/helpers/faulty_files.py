"""Writes files with faults, and reads them with a refusal in one sentence."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from velm_lightning.types import InputError

fuzz = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(read, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(read(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)
