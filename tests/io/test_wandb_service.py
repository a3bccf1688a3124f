"""Whether there is a login to the W&B server, for runs and sweeps alike."""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from velm_lightning.cli import sweep
from velm_lightning.cli.commands import main
from velm_lightning.errors import InputError
from velm_lightning.io.wandb_service import check_settings_file, end_service, logged_in, own_temporary_folders
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.settings import Tracking

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


@pytest.mark.parametrize("folder", ["wandb", ".wandb"])
def test_a_project_cannot_name_the_server_that_gets_the_key(monkeypatch, tmp_path, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / folder).mkdir()
    check_settings_file()
    (tmp_path / folder / "settings").write_text("[default]\nbase_url = http://wandb.example.org\n")
    with pytest.raises(InputError, match=rf"{folder}/settings in the working directory .*VELM_ALLOW={folder}/settings"):
        check_settings_file()
    with pytest.raises(InputError, match="another server for W&B"):
        Tracking().wandb_logger(Run(tmp_path / "runs" / "x" / "y"), {})
    (tmp_path / "file.yaml").write_text("method: grid\nparameters: {a: {values: [1]}}\n")
    assert main(["sweep", "file.yaml", "--engine", "wandb"]) == 2
    monkeypatch.setenv("VELM_ALLOW", f"{folder}/settings")
    check_settings_file()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary folders of a client that is not imported."""
    folders = [tempfile.TemporaryDirectory(dir=tmp_path) for _ in range(2)]
    modules = {
        "wandb": SimpleNamespace(teardown=lambda exit_code: None),
        "wandb.sdk.data_types._private": SimpleNamespace(MEDIA_TMP=folders[0]),
        "wandb.sdk.artifacts.artifact": SimpleNamespace(Artifact=SimpleNamespace(_TMP_DIR=folders[1])),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield [Path(folder.name) for folder in folders]
    for folder in folders:
        folder.cleanup()


def test_a_process_that_ends_at_once_leaves_no_folders(temporary):
    end_service()
    assert all(folder.is_dir() for folder in temporary)  # the process goes on and may track another run
    end_service(code=0)
    assert not any(folder.exists() for folder in temporary)


def test_folders_of_a_killed_process_are_removed_by_the_next(temporary, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = ("tmp1wandb-media", "tmp2wandb-artifacts", "tmp3wandb-media", "tmp4wandb-media")
    killed, also_killed, alive, of_others = (tmp_path / name for name in names)
    for folder in (killed, also_killed, alive, of_others):
        folder.mkdir()
        (folder / "picture.png").touch()
    script = "import sys, time; from pathlib import Path; from velm_lightning.io.wandb_service import _lock\n"
    script += "for name in sys.argv[1:]: _lock(Path(name))\nprint(flush=True); time.sleep(600)"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, *map(str, folders)], stdout=subprocess.PIPE)
        for folders in ([killed, also_killed], [alive])
    ]
    for process in processes:
        process.stdout.readline()
    with processes[0] as process:
        process.kill()
    own_temporary_folders()
    assert [folder.exists() for folder in (killed, also_killed, alive, of_others)] == [False, False, True, True]
    assert all((folder / "velm.lock").is_file() for folder in temporary)
    with processes[1] as process:
        process.kill()
    own_temporary_folders()  # the second start of a process, whose own folders stay
    assert not alive.exists()
    assert all(folder.is_dir() for folder in temporary)


def test_a_folder_that_others_prepared_makes_us_remove_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "velm.lock").touch()
    (tmp_path / "tmp1wandb-media").symlink_to(tmp_path / "kept")
    (tmp_path / "tmp2wandb-media").mkdir()
    (tmp_path / "tmp2wandb-media" / "velm.lock").symlink_to(tmp_path / "kept" / "velm.lock")
    own_temporary_folders()
    assert (tmp_path / "kept" / "velm.lock").is_file()
    assert (tmp_path / "tmp2wandb-media").is_dir()


def test_the_temporary_folders_of_the_client_have_these_names():
    package = Path(find_spec("wandb").origin).parent
    media, artifacts = "sdk/data_types/_private.py", "sdk/artifacts/artifact.py"
    assert "MEDIA_TMP = tempfile.TemporaryDirectory(" in (package / media).read_text("utf-8")
    assert "_TMP_DIR = tempfile.TemporaryDirectory(" in (package / artifacts).read_text("utf-8")
