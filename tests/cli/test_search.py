"""``velm search`` encodes a folder once, compares all images, and re-ranks the best together with the text."""

import sys

import pytest
import torch
from helpers import tiny
from PIL import Image
from torch.nn import functional as F

from velm_lightning.checkpoints import checkpoint
from velm_lightning.cli.commands import main
from velm_lightning.data.images.folder import picture_files
from velm_lightning.data.images.store import read_image
from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.inspection import nearest
from velm_lightning.inspection.nearest import Nearest, NearestByCells
from velm_lightning.inspection.search import PictureIndex
from velm_lightning.tasks import Classification, Mixture, Retrieval
from velm_lightning.types import InputError, Sample

TEXT = "how many blue stars are there ?"
FUSIONS = [EarlyFusion, InteractiveFusion, LateFusion]


def model_of(kind=LateFusion, task=None, **arguments):
    torch.manual_seed(0)
    extra = {"depth": 1, "heads": 2} if kind is InteractiveFusion else {}
    task = task or Retrieval(width=6, **arguments)
    return tiny.fusion(kind, vocabulary=tiny.vocabulary(), task=task, **extra).eval()


def save(path, seed):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(tiny.picture(seed).permute(1, 2, 0).numpy()).save(path)


@pytest.fixture
def folder(tmp_path):
    for seed in range(7):
        save(tmp_path / "photos" / f"{seed}.png", seed)
    return tmp_path / "photos"


def index_of(model, folder):
    return PictureIndex(model, picture_files(folder), folder.parent / "cache")


def read_whole(model, folder):
    """Return the cosine similarities (I,) and fused logits (I,) of all images with ``TEXT``, by definition."""
    files = picture_files(folder)
    pictures = [read_image(file, model.transform) for file in files]
    samples = [Sample(file.name, picture, TEXT, None, ()) for file, picture in zip(files, pictures, strict=True)]
    batch = tiny.batch(samples, model.vocabulary)
    with torch.no_grad():
        image, text = model.encode_image(batch.image), model.embed_text(batch.words)
        images, texts = model.task.vectors(model, image, model.encode_text(text))
        fused = model.task.match(model.pool(model.fuse(image, text)))[:, 0]
        stored = images.half().float()  # as on disk
        return stored @ texts[0], fused + model.task.similarity(images, texts)[:, 0]


def ranking(values):
    return values.argsort(descending=True).tolist()


def names(hits):
    return [int(hit.picture.stem) for hit in hits]


def test_without_a_shortlist_the_nearest_images_are_found(folder):
    model = model_of(shortlist=0)
    hits = index_of(model, folder).best(TEXT, 7)
    alone, _ = read_whole(model, folder)
    assert names(hits) == ranking(alone)
    torch.testing.assert_close(torch.tensor([hit.similarity for hit in hits]), alone.sort(descending=True).values)
    assert all(hit.together is None for hit in hits)


@pytest.mark.parametrize("kind", FUSIONS)
def test_the_shortlist_is_sorted_by_fused_logits(kind, folder):
    model = model_of(kind, shortlist=4)
    with torch.no_grad():
        model.task.match[-1].weight.mul_(1000)
    hits = index_of(model, folder).best(TEXT, 6)
    alone, together = read_whole(model, folder)
    near = ranking(alone)
    assert names(hits) == sorted(near[:4], key=lambda i: -together[i]) + near[4:6]
    assert names(hits) != near[:6]
    torch.testing.assert_close(torch.tensor([hit.together for hit in hits[:4]]), together[names(hits)[:4]])


def test_fewer_hits_than_the_shortlist_can_be_returned(folder):
    index = index_of(model_of(shortlist=5), folder)
    assert index.best(TEXT, 2) == index.best(TEXT, 7)[:2]


def test_chunks_give_the_same_result(folder, monkeypatch):
    index = index_of(model_of(shortlist=0), folder)
    whole = names(index.best(TEXT, 5))
    monkeypatch.setattr(nearest, "CHUNK", 2)
    assert names(index.best(TEXT, 5)) == whole


def test_cells_give_the_same_result_and_are_cached(folder):
    pytest.importorskip("faiss")
    model, cache = model_of(shortlist=0), folder.parent / "cache"
    all_of_them = index_of(model, folder).best(TEXT, 7)
    indices = [PictureIndex(model, picture_files(folder), cache, NearestByCells) for _ in range(2)]
    (file,) = cache.rglob("*.cells")
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    indices.append(PictureIndex(model, picture_files(folder), cache, NearestByCells))
    assert file.read_bytes() == whole, "a damaged file is written again"
    for index in indices:
        hits = index.best(TEXT, 7)
        assert names(hits) == names(all_of_them)
        assert [hit.similarity for hit in hits] == pytest.approx([hit.similarity for hit in all_of_them], abs=1e-6)


def test_the_nearest_cells_miss_few_of_many(tmp_path):
    pytest.importorskip("faiss")
    centres = F.normalize(torch.randn(40, 16), dim=1)
    near = F.normalize(centres[torch.randint(40, (3050,))] + torch.randn(3050, 16) / 12, dim=1).half()
    store = Store(near[:3000, None], tmp_path)
    cells, every = NearestByCells(store), Nearest(store)
    assert cells.cells.nprobe < cells.cells.nlist / 20
    shared = [len({*cells(query[None], 10)[0]} & {*every(query[None], 10)[0]}) for query in near[3000:].float()]
    assert sum(shared) >= 0.9 * 500


class Store:
    """The part of ``FeatureStore`` that a search uses."""

    def __init__(self, vectors, folder):
        self.vectors, self.folder = vectors, folder

    def __len__(self):
        return len(self.vectors)

    def fetch(self, indices):
        return self.vectors[torch.tensor(indices)]


def test_a_missing_library_is_named_with_its_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install velm-lightning\[faiss\]"):
        PictureIndex(model_of(), picture_files(folder), folder.parent / "cache", NearestByCells)


def test_retrieval_in_a_mixture_can_search(folder):
    task = Mixture({"answers": Classification(), "pairs": Retrieval(width=6)})
    assert len(index_of(model_of(task=task), folder).best(TEXT, 3)) == 3


# The cache


def test_an_image_is_encoded_once_under_any_name(folder):
    model = model_of()
    assert index_of(model, folder).made == 7
    best = index_of(model, folder).best(TEXT, 3)
    (folder / f"{names(best)[0]}.png").rename(folder / "99.png")
    index = index_of(model, folder)
    assert index.made == 0
    assert names(index.best(TEXT, 3)) == [99, *names(best)[1:]]


def test_only_new_and_changed_images_are_encoded(folder):
    index_of(model_of(), folder)
    save(folder / "new.png", 20)
    save(folder / "0.png", 21)
    assert index_of(model_of(), folder).made == 2


def test_another_model_has_other_vectors(folder):
    index_of(model_of(), folder)
    other = model_of()
    with torch.no_grad():
        other.task.image.weight.add_(0.1)
    assert index_of(other, folder).made == 7


# Errors


@pytest.mark.parametrize(("kind", "unseen"), [(TextOnly, "image"), (ImageOnly, "text")])
def test_a_control_cannot_search_a_hidden_modality(kind, unseen, folder):
    with pytest.raises(InputError, match=f"sees no {unseen}"):
        index_of(model_of(kind), folder)


def test_a_model_of_another_task_is_refused(folder):
    with pytest.raises(InputError, match="Classification: search needs Retrieval"):
        index_of(model_of(task=Classification()), folder)


# The command


@pytest.fixture
def saved(tmp_path):
    model = model_of()
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


@pytest.fixture
def velm(saved, folder, capsys):
    """Run the command; return its exit code, output lines and errors."""

    def run(*words, text=TEXT, images=folder):
        code = main(["search", str(saved), "--images", str(images), "--text", text, *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def test_the_best_images_are_printed_and_drawn(velm, folder, tmp_path):
    words = ["--top", 3, "--sheet", tmp_path / "out" / "found.png", "--cache", tmp_path / "kept"]
    code, lines, _ = velm(*words)
    expected = index_of(model_of(), folder).best(TEXT, 3)
    assert code == 0
    assert lines[0] == "7 images, 7 encoded now"
    assert [line.split("  ")[-1] for line in lines[2:5]] == [str(hit.picture) for hit in expected]
    with Image.open(tmp_path / "out" / "found.png") as sheet:
        assert sheet.width > sheet.height / 2
    assert velm(*words)[1] == ["7 images, 0 encoded now", *lines[1:]]


def test_an_unreadable_image_is_named_or_skipped(velm, folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:99])
    code, _, errors = velm("--cache", tmp_path / "kept")
    assert code == 2
    assert "broken.png" in errors
    code, lines, _ = velm("--cache", tmp_path / "kept", "--on_bad_image", "skip")
    assert (code, lines[0]) == (0, "7 images, 7 encoded now, 1 unreadable")


@pytest.mark.parametrize(
    ("words", "changes", "named"),
    [
        (["--top", 0], {}, "--top must be at least 1, got 0"),
        ([], {"text": " "}, "--text is empty"),
        ([], {"images": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_options_are_named(velm, words, changes, named):
    code, _, errors = velm(*words, **changes)
    assert code == 2
    assert named in errors


def test_a_folder_without_images_is_refused(velm, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, errors = velm(images=tmp_path / "empty")
    assert code == 2
    assert "holds no image that can be read" in errors
