"""``examples/user_tables.py`` writes tables that ``velm init`` understands."""

import importlib.util
from pathlib import Path

import pytest

from velm_lightning.cli.start.proposal import propose

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data"


@pytest.fixture
def tables(monkeypatch):
    spec = importlib.util.spec_from_file_location("user_tables", ROOT / "examples/user_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "POSTS", {"train": 20, "test": 4})
    monkeypatch.setattr(module, "PHOTOS", {"train": 2, "val": 1, "test": 1})
    return module


def test_posts_are_labelled_texts(tables, tmp_path):
    tables.posts(tmp_path)
    proposal = propose(tmp_path / "posts/train.csv")
    assert (proposal.task, proposal.rows, proposal.images.name) == ("classification", 20, "photos")
    assert propose(tmp_path / "posts/test.csv").rows == 4


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")
def test_daquar_is_questions_and_flickr8k_captions(tables, tmp_path):
    tables.daquar(SHARED, tmp_path)
    tables.flickr8k(SHARED, tmp_path)
    assert propose(tmp_path / "daquar/train.csv", SHARED / "daquar/images").columns["text"] == "question"
    photos = propose(tmp_path / "flickr8k/train.csv", SHARED / "flickr8k/images")
    assert (photos.task, photos.rows, photos.pictures) == ("captioning", 10, 2)
