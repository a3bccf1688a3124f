"""Files on the network are copied once, and only if the network is allowed."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.formats import table

from velm_lightning.cli.start.words import complete
from velm_lightning.data import DataFiles
from velm_lightning.data.datasets.readers.remote import is_address
from velm_lightning.io.allowlist import permissions
from velm_lightning.types import InputError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.requests.append(self.path)


@pytest.fixture
def server(tmp_path):
    """A web server of the folder ``served`` that lists the paths that were asked for."""
    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served"))
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server, name):
    return f"http://127.0.0.1:{server.server_port}/{name}"


def test_files_are_copied_once(server, tmp_path):
    for number in range(2):
        table(4).to_parquet(tmp_path / f"served/train-{number}.parquet")
    for _ in range(2):
        data = DataFiles(train=address(server, "train-{0..1}.parquet"), cache_dir=tmp_path / "cache")
        assert len(data.split("train")) == 8
        gets = {path for path in server.requests if path.endswith(".parquet")}
        assert gets == {"/train-0.parquet", "/train-1.parquet"}
        asked = len(server.requests)
    DataFiles(address(server, "train-0.parquet"), holdout=0, cache_dir=tmp_path / "cache")
    assert len(server.requests) == asked


def test_nothing_is_opened_without_permission(server, tmp_path):
    with permissions(["fit"]), pytest.raises(InputError, match="nothing was opened"):
        DataFiles(train=address(server, "a.parquet"), cache_dir=tmp_path)
    assert not server.requests


def test_a_file_that_is_missing_there_is_named(server, tmp_path):
    with pytest.raises(InputError, match=r"/none\.parquet: cannot be copied"):
        DataFiles(train=address(server, "none.parquet"), cache_dir=tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


def test_only_known_protocols_are_addresses(tmp_path):
    assert is_address("s3://bucket/a.tar")
    assert not is_address("file:///etc/passwd")
    assert not is_address("reference::http://a/b")
    assert not is_address("http://a/b::file:///c")
    assert not is_address(str(tmp_path))


def test_an_address_may_be_named_on_the_command_line():
    words = complete(["fit", "--data", "https://example.org/a.parquet"])
    assert "--data.dataset.init_args.path=https://example.org/a.parquet" in words
