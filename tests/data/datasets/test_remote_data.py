"""Files on the network are copied once, and only if the network is allowed."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from helpers.formats import table

from velm_lightning.cli.start.words import complete
from velm_lightning.data import DataFiles
from velm_lightning.data.datasets.readers.remote import is_address
from velm_lightning.io.allow.allowlist import permissions
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
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
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


@pytest.fixture(params=["s3", "gs"])
def bucket(request, monkeypatch):
    """A bucket in memory, in the place of that of the cloud, which counts what is opened."""

    class Bucket(MemoryFileSystem):
        protocol = request.param
        store: ClassVar = {}
        pseudo_dirs: ClassVar = [""]
        opened: ClassVar = []
        cachable = False

        @classmethod
        def _strip_protocol(cls, path):
            return "/" + path.removeprefix(f"{cls.protocol}://").lstrip("/")

        def _open(self, path, mode="rb", **options):
            self.opened.append((path, mode))
            return super()._open(path, mode, **options)

    monkeypatch.setitem(import_module("fsspec.registry")._registry, request.param, Bucket)
    return Bucket()


def test_files_of_a_bucket_are_copied_once(bucket, tmp_path):
    for number in range(2):
        table(4).to_parquet(tmp_path / "a.parquet")
        bucket.pipe(f"{bucket.protocol}://pets/train-{number}.parquet", (tmp_path / "a.parquet").read_bytes())
    name = f"{bucket.protocol}://pets/train-{{0..1}}.parquet"
    datas = [DataFiles(train=name, cache_dir=tmp_path / "cache") for _ in range(2)]
    assert [len(data.split("train")) for data in datas] == [8, 8]
    assert [path for path, mode in bucket.opened if mode == "rb"] == ["/pets/train-0.parquet", "/pets/train-1.parquet"]


def test_a_bucket_is_not_opened_without_permission(bucket, tmp_path):
    with permissions(["fit"]), pytest.raises(InputError, match="nothing was opened"):
        DataFiles(f"{bucket.protocol}://pets/a.tar", cache_dir=tmp_path)
    assert not bucket.opened


def test_an_object_that_is_missing_in_a_bucket_is_named(bucket, tmp_path):
    with pytest.raises(InputError, match="://pets/none.tar: cannot be copied"):
        DataFiles(f"{bucket.protocol}://pets/none.tar", cache_dir=tmp_path)
