"""A package that is not installed, as a clone of this one on ``PYTHONPATH``, has no version and ends nothing."""

from importlib import metadata

import pytest

import velm_lightning
from velm_lightning.cli.commands import main
from velm_lightning.io.packaged import installed_version
from velm_lightning.metrics.signature import signature_of
from velm_lightning.tracking.provenance import versions


@pytest.fixture
def clone(monkeypatch):
    """Let no package be installed."""

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata.Distribution, "from_name", absent)


def test_an_installed_package_has_its_version():
    assert installed_version("torch") == metadata.version("torch")


@pytest.mark.usefixtures("clone")
def test_a_clone_that_is_not_installed_trains_and_reports(capsys):
    assert velm_lightning.__version__ == versions()["velm_lightning"] == "unknown"
    assert signature_of("VQA accuracy", split="val:1").endswith("|velm:unknown")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "velm_lightning unknown\n"
