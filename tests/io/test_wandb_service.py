"""Whether there is a login to the W&B server, for runs and sweeps alike."""

import subprocess
import sys

import pytest

from velm_lightning.cli import sweep
from velm_lightning.io.wandb_service import logged_in

KEY = "0" * 40


@pytest.fixture
def netrc(monkeypatch, tmp_path):
    """A netrc file with a login to a self-hosted server."""
    path = tmp_path / "netrc"
    path.write_text(f"machine wandb.example.org login user password {KEY}\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)


def by_wandb(*words):
    return sweep._by_wandb(sweep._parser().parse_args(["file.yaml", *words]))


def test_a_netrc_login_is_for_the_server_in_use(netrc, monkeypatch):
    assert not logged_in()
    assert not by_wandb()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080/")
    assert logged_in()
    assert by_wandb()


@pytest.mark.parametrize("mode", ["offline", "dryrun", "disabled"])
def test_a_mode_without_the_server_is_no_login(monkeypatch, mode):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert logged_in()
    monkeypatch.setenv("WANDB_MODE", mode)
    assert not logged_in()
    assert not by_wandb()


def test_options_decide_before_the_login(monkeypatch):
    assert by_wandb("--engine", "wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert not by_wandb("--engine", "optuna")
    assert not by_wandb("--per", "model")


def test_the_login_is_found_without_torch():
    code = "import sys; import velm_lightning.io.wandb_service; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
