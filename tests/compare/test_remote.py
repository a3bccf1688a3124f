"""Runs that W&B's client fetches from a local server, and reports that are sent to it."""

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from helpers.run_folders import fusions
from helpers.wandb_server import WandbServer

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.reading import read_runs, remote
from velm_lightning.compare.views import report
from velm_lightning.compare.views.exports import markdown
from velm_lightning.errors import InputError
from velm_lightning.io.wandb_service import end_service

wandb = pytest.importorskip("wandb")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = WandbServer()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    yield server
    server.close()
    end_service()


@pytest.fixture
def there(server, tmp_path):
    """Three methods with two seeds each, uploaded to the server as a run uploads its folder."""
    folder = fusions(tmp_path / "runs", seeds=2)
    for run in folder.iterdir():
        files = {f"{run.name}/{path.relative_to(run)}": path.read_bytes() for path in run.rglob("*") if path.is_file()}
        server.run(run.name)["files"] |= files | {"output.log": b"said"}
    return folder


def test_fetched_runs_compare_like_local_runs(there, tmp_path):
    comparison = compare(*read_runs([remote.fetch("wandb:me/p", tmp_path / "fetched")]))
    here = compare(*read_runs([there]))
    assert [result.score for result in comparison.results] == [result.score for result in here.results]
    assert [pair.difference.p for pair in comparison.pairs] == [pair.difference.p for pair in here.pairs]
    assert not list((tmp_path / "fetched").rglob("output.log")), "what is not of the folder is left there"


@pytest.mark.slow
def test_files_already_here_are_not_fetched_again(server, there, tmp_path):
    folder = remote.fetch("wandb:me/p", tmp_path / "fetched")
    (first, *_) = sorted(folder.iterdir())
    shutil.rmtree(first)
    for run in server.runs.values():
        run["files"] = {name: content for name, content in run["files"].items() if name.startswith(first.name)} or {
            name: content[:-1] + b"?"
            for name, content in run["files"].items()  # of the same size, so not fetched again
        }
    remote.fetch("wandb:me/p", tmp_path / "fetched")
    assert len(read_runs([folder])[0]) == 6


def test_a_name_that_leaves_its_folder_is_not_written(server, tmp_path):
    server.run("r1")["files"] |= {"r1/../../out.txt": b"x", "/r1/abs.txt": b"x"}
    with pytest.raises(InputError, match="holds the files of a velm run"):
        remote.fetch("wandb:me/p", tmp_path / "fetched")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("place", ["wandb:", "wandb:me", "wandb:a/b/c/d", "wandb:me//x"])
def test_a_malformed_place_is_refused(place, tmp_path):
    with pytest.raises(InputError, match="write wandb:entity/project"):
        remote.fetch(place, tmp_path)


def test_an_unreachable_server_is_one_sentence(server, tmp_path, monkeypatch):
    server.close()
    monkeypatch.setattr(remote, "SECONDS", 1)
    with pytest.raises(InputError, match="cannot be read: .*check the name and `wandb login`"):
        remote.fetch("wandb:me/p", tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="services are listed in /proc")
def test_a_service_that_does_not_end_is_left_behind(server, there, tmp_path):
    end_service()
    left = _services_of_this_process()  # of an earlier test
    wandb.Api(timeout=5)
    (service,) = set(_services_of_this_process()) - set(left)
    os.kill(service, signal.SIGSTOP)
    try:
        start = time.monotonic()
        end_service(0.2)
        assert time.monotonic() - start < 5
        assert list(remote.fetch("wandb:me/p", tmp_path / "fetched").iterdir()), "the next call starts another service"
    finally:
        os.kill(service, signal.SIGKILL)


def _services_of_this_process():
    services = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == os.getpid() and b"wandb-core" in (folder / "cmdline").read_bytes():
                services.append(int(folder.name))
    return services


# Reports


def test_a_report_holds_the_same_numbers_and_panels_of_the_runs(server, tmp_path):
    pytest.importorskip("wandb_workspaces")
    comparison = compare(*read_runs([fusions(tmp_path, seeds=2)]))
    address = report.send(comparison, "me/p", "Where should the image meet the text?")
    assert address.startswith("http")
    (saved,) = server.reports
    assert saved["displayName"] == "Where should the image meet the text?"
    spec = json.loads(saved["spec"])
    text = json.dumps(spec)
    assert json.dumps(markdown(comparison))[1:60] in text
    assert "test/score" in text
    assert "parallel" in text.lower()


def test_a_report_that_cannot_be_saved_is_one_sentence(server, tmp_path):
    pytest.importorskip("wandb_workspaces")
    comparison = compare(*read_runs([fusions(tmp_path, seeds=1)]))
    with pytest.raises(InputError, match="--report me .*write entity/project"):
        report.send(comparison, "me", "")
    server.graphql = lambda query, given: {"project": None, "viewer": {"entity": "me"}}
    with pytest.raises(InputError, match="W&B rejected the report"):
        report.send(comparison, "me/gone", "")
