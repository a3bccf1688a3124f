"""The example pages of the documentation are built from the archives next to the hook of mkdocs."""

import importlib.util
import json
import tarfile
from pathlib import Path

import pytest
from helpers.run_folders import run

from velm_lightning.compare.reading import RunFolder

FOLDER = Path(__file__).parents[1] / "docs" / "reports"
ARCHIVES = sorted(FOLDER.glob("*.tar.xz"))


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"reports_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_archive_has_a_page_that_the_index_names():
    pytest.importorskip("mkdocs")
    names = {path.name.partition(".")[0] for path in ARCHIVES}
    assert set(loaded("build").TITLES) == names
    index = (FOLDER / "index.md").read_text("utf-8")
    assert all(f"]({name}.html)" in index for name in names)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_pages_hold_their_runs(archive):
    pytest.importorskip("mkdocs")
    text = loaded("build").built(archive, "a title")
    assert "a title" in text or "Uint8Array" in text, "the data may be compressed"
    assert len(text) > 1_000_000, "plotly is part of it"


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_archives_are_small_and_hold_no_path_of_a_machine(archive):
    assert archive.stat().st_size < 400_000
    with tarfile.open(archive) as packed:
        records = [json.load(packed.extractfile(name)) for name in packed.getnames() if name.endswith("run.json")]
    assert records
    assert not any(word.startswith("/") for record in records for word in record["command"])


def test_a_packed_run_is_read_again(tmp_path):
    made = run(tmp_path / "runs", "LateFusion")
    loaded("pack").main(str(tmp_path / "x.tar.xz"), str(made))
    with tarfile.open(tmp_path / "x.tar.xz") as packed:
        packed.extractall(tmp_path / "out", filter="data")
    before, after = RunFolder(made), RunFolder(tmp_path / "out" / made.name)
    assert (after.scores("test").values == before.scores("test").values).all()
    assert set(after.scores("test").groups) == {"count", "colour"}
