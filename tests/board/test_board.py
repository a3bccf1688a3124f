"""``velm board`` shows runs while they train, whatever their folders hold, and only to this machine."""

import http.client
import json
import os
import shutil
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from helpers.browser import BROWSER, Browser
from helpers.run_folders import HOSTILE, run

from velm_lightning.board.live_run import LiveRun, progress_of
from velm_lightning.board.server import BoardServer, serve
from velm_lightning.board.state import HEAD, Board
from velm_lightning.cli.commands import main
from velm_lightning.compare.page import as_json
from velm_lightning.errors import InputError
from velm_lightning.tracking.run_status import status_of

pytest.importorskip("plotly")


def training(folder, fusion="LateFusion", seed=0, step=30, minutes=10, **record):
    """A run that has trained ``step`` of 120 steps for some minutes, with no score on test data yet."""
    path = run(folder, fusion, seed)
    now = datetime.now(UTC)
    whole = json.loads((path / "run.json").read_text())
    start = {"step": 0, "at": (now - timedelta(minutes=minutes)).isoformat()}
    whole |= {"status": "running", "planned_steps": 120, "starts": [start]} | record
    for name in ("scores", "steps", "signature"):
        whole.pop(name)
    (path / "run.json").write_text(json.dumps(whole))
    rows = [f"{at},{1 / at},{at / 1000}" for at in range(10, step + 1, 10)]
    (path / "metrics.csv").write_text("\n".join(["step,train/loss,val/score", *rows]) + "\n")
    return path


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs" / "vqa"


def state(runs, *figures):
    return Board([runs.parent]).state(None, figures)


def column(answer, name):
    return {row[0].split("-")[0]: row[HEAD.index(name)] for row in answer["rows"]}


def locked(path):
    """Hold the lock of a run as the process that trains it does."""
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_runs_are_listed_with_status_progress_and_scores(runs):
    descriptor = locked(training(runs))
    training(runs, "EarlyFusion")
    run(runs, "TextOnly")
    answer = state(runs)
    os.close(descriptor)
    assert column(answer, "status") == {"latefusion": "running", "earlyfusion": "died", "textonly": "finished"}
    assert column(answer, "step") == {"latefusion": 30, "earlyfusion": 30, "textonly": 40}
    assert column(answer, "of")["latefusion"] == 120
    assert column(answer, "time left") == {"latefusion": "30.0 min", "earlyfusion": "", "textonly": ""}
    assert column(answer, "best")["latefusion"] == 0.03
    assert column(answer, "test")["textonly"] > 0
    assert {part.split()[1] for part in answer["counts"].split(", ")} == {"running", "died", "finished"}


@pytest.mark.parametrize(
    ("record", "left"),
    [
        ({}, 1800.0),
        ({"planned_steps": None}, None),
        ({"starts": []}, None),
        ({"starts": [{"step": 30, "at": "2026-01-01T00:00:00+00:00"}]}, None),
        ({"starts": [{"step": "x", "at": 3}]}, None),
        ({"starts": 3}, None),
    ],
    ids=["known", "unplanned", "no start", "no step since", "odd start", "odd starts"],
)
def test_the_time_left_is_from_the_speed_of_this_start(runs, record, left):
    path = training(runs, **record)
    status = status_of(path)._replace(status="running")
    seconds = progress_of(LiveRun(path), status, (path / "metrics.csv").stat().st_mtime).seconds_left
    assert seconds == (left if left is None else pytest.approx(left, rel=0.01))


def test_seeds_are_one_line_with_a_band_over_those_that_reached_a_step(runs):
    training(runs, seed=0, step=30)
    training(runs, seed=1, step=50)
    (figure,) = state(runs, "train/loss", "no/such")["curves"].values()
    band, line = figure["data"]
    assert line["x"] == [10, 20, 30, 40, 50]
    assert band["fill"] == "toself"
    assert state(runs)["figures"][:2] == ["val/score", "train/loss"], "what is monitored comes first"


def test_the_experiment_that_changed_last_is_shown_first(tmp_path):
    for age, name in ((100, "old"), (0, "new"), (200, "older")):
        path = training(tmp_path / "runs" / name)
        for file in ("run.json", "metrics.csv"):
            os.utime(path / file, (time.time() - age,) * 2)
    board = Board([tmp_path / "runs"])
    assert board.state(None, ())["experiments"] == ["new", "old", "older"]
    assert board.state("old", ())["experiment"] == "old"
    assert board.state("../etc", ())["experiment"] == "new"


def test_a_run_is_read_again_only_if_it_has_changed(runs, monkeypatch):
    path, reads = training(runs), []
    board = Board([runs.parent])
    original = LiveRun.check
    monkeypatch.setattr(LiveRun, "check", lambda self: (reads.append(self.folder), original(self)))
    for _ in range(3):
        board.state(None, ())
    assert len(reads) == 1
    (path / "metrics.csv").write_text("step,train/loss\n60,0.5\n")
    os.utime(path / "metrics.csv", ns=(1, 1))
    assert column(board.state(None, ()), "step")["latefusion"] == 60
    assert len(reads) == 2


def test_no_runs_yet_and_runs_removed_meanwhile_are_no_errors(tmp_path, runs):
    assert Board([tmp_path]).state(None, ())["rows"] == []
    assert Board([tmp_path]).gallery("x") is None
    board = Board([runs.parent])
    path = training(runs)
    assert len(board.state(None, ())["rows"]) == 1
    shutil.rmtree(path)
    assert board.state(None, ())["rows"] == []


HALVES = {
    "run.json": ["", "{", "[]", '{"status": "running", "scores": []}', '{"status": 3, "starts": {"a": 1}}', "\xff"],
    "config.yaml": ["", "model: [", "- a", "model: {class_path: 3}"],
    "metrics.csv": [
        "",
        "step",
        "step,train/loss\n1",
        "step,train/loss\nx,y\n",
        "a,b\n1,2\n",
        "step,train/loss\n1e400,nan\n",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in HALVES.items() for text in texts])
def test_half_written_files_never_end_the_board(runs, name, text):
    training(runs, "EarlyFusion")
    path = training(runs, "LateFusion")
    (path / name).write_bytes(text.encode("latin-1"))
    answer = state(runs, "train/loss")
    json.loads(as_json(answer))
    assert "earlyfusion" in column(answer, "run")
    assert len(answer["rows"]) + len(answer["broken"]) == 2


def test_the_last_predictions_are_those_of_the_newest_run_per_fusion(runs):
    for fusion in ("EarlyFusion", "LateFusion"):
        run(runs, fusion)
    cards = Board([runs.parent]).gallery("vqa")
    assert {name.split("-")[0] for name in cards["methods"]} == {"earlyfusion", "latefusion"}
    assert len(cards["cards"]) == 10


@pytest.fixture
def server(runs):
    training(runs)
    with BoardServer(Board([runs.parent]), 0) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


def answer_of(server, path, method="GET", host=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.request(method, path, headers=headers | ({} if host is None else {"Host": host}))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:6007", "127.0.0.1.evil.example", "", "localhost.x:80"])
def test_a_page_elsewhere_cannot_read_the_board(server, host):
    assert answer_of(server, "/state", host=host)[0].status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_in_the_browser_gets_no_work_done(server, site):
    """It could not read the answer, but every answer takes time; a link to the board is followed."""
    for path in ("/state", "/gallery?experiment=vqa", "/board.js", "/plotly.js"):
        assert answer_of(server, path, **{"Sec-Fetch-Site": site})[0].status == 403
        assert answer_of(server, path, **{"Sec-Fetch-Site": "same-origin"})[0].status == 200
    assert answer_of(server, "/", **{"Sec-Fetch-Site": site})[0].status == 200


def test_paths_that_are_no_files_are_not_kept(server):
    tracemalloc.start()
    for number in range(100):
        assert answer_of(server, f"/{number}" + "x" * 30_000)[0].status == 404
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10**6


@pytest.mark.parametrize("host", ["127.0.0.1:6007", "localhost:9", "localhost", "[::1]:80"])
def test_a_tunnel_to_this_machine_reads_it(server, host):
    answer, content = answer_of(server, "/state", host=host)
    assert answer.status == 200
    assert json.loads(content)["experiment"] == "vqa"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading_is_answered(server, method):
    assert answer_of(server, "/state", method)[0].status == 501


@pytest.mark.parametrize("path", ["/../run.json", "/runs/vqa", "//etc/passwd", "/style.css/../../page.py", "/x" * 2000])
def test_no_other_file_is_opened(server, path):
    assert answer_of(server, path)[0].status == 404


def test_the_files_of_the_page_are_served(server):
    for path, kind in (("/", "text/html"), ("/style.css", "text/css"), ("/board.js", "text/javascript")):
        answer, content = answer_of(server, path)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert len(content) > 300
    assert answer_of(server, "/", "HEAD")[1] == b""


def test_it_listens_only_on_this_machine_and_takes_the_next_port(server):
    assert server.server_address[0] == "127.0.0.1"
    port = server.server_address[1]
    with serve(server.board, port) as other:
        assert port < other.server_address[1] <= port + 19


def test_a_folder_that_is_missing_is_named(tmp_path, capsys):
    assert main(["board", str(tmp_path / "none")]) == 2
    assert "is not a folder: name the folder of your runs" in capsys.readouterr().err


@pytest.mark.exhaustive
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_browser_follows_runs_while_they_train(runs, server, tmp_path):
    run(runs, "EarlyFusion", optimizer__name=HOSTILE)
    browser = Browser(tmp_path / "profile")
    try:
        browser.size(1280, 900)
        browser.open(server.address, "document.body.classList.contains('built') && window.Plotly")
        browser.wait("document.querySelectorAll('.js-plotly-plot').length === 2")
        rows = "document.querySelectorAll('tbody tr').length"
        assert browser.run(rows) == 2
        browser.choose("#filter", "latefusion")
        training(runs, seed=1, step=50)
        browser.run("refresh()")
        assert browser.run(rows) == 2, "the filter stays, and the new run fits it"
        browser.click(".open")
        browser.wait("document.querySelector('#zoom').open")
        assert browser.run("document.querySelectorAll('img[src=x]').length") == 0
        assert not browser.errors
        server.shutdown()
        server.server_close()
        browser.run("refresh()")
        assert "does not answer" in browser.run("document.querySelector('#status').textContent")
    finally:
        browser.close()


def test_a_wrong_port_is_named(tmp_path):
    with pytest.raises(InputError, match="--port 70000"):
        serve(Board([tmp_path]), 70_000)
