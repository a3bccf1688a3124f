"""The conditions under which W&B logs a run, online or offline."""

import pytest

from velm_lightning.tracking.run import Run
from velm_lightning.tracking.settings import Tracking, logged_in

KEY = "0" * 40


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, "vqa", "x")


def test_without_a_key_there_is_no_login():
    assert not logged_in()


def test_a_key_in_the_environment_is_a_login(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert logged_in()


def test_a_key_in_netrc_is_a_login_to_its_server(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not logged_in()


@pytest.mark.parametrize("mode", ["offline", "dryrun"])
def test_the_environment_can_ask_for_offline_runs(monkeypatch, mode):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", mode)
    assert not logged_in()


def test_wandb_can_be_turned_off(run, monkeypatch):
    assert Tracking(wandb="disabled").wandb_logger(run, {}) is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert Tracking(wandb="online").wandb_logger(run, {}) is None
    assert not run.folder.exists()


def test_no_deprecated_setting_is_given_to_wandb(run):
    """W&B prints a warning for `anonymous`, whatever its value."""
    logger = Tracking(wandb="offline").wandb_logger(run, {})
    assert "anonymous" not in logger._wandb_init
    assert logger._wandb_init["mode"] == "offline"
