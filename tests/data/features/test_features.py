"""Cached features equal the output of the frozen encoder, are computed once, and are not used after any change."""

import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import tiny
from lightning import Trainer
from PIL import Image

from velm_lightning.cli.commands import main
from velm_lightning.data import MultimodalData
from velm_lightning.data.features import extraction
from velm_lightning.data.features import store as features
from velm_lightning.data.features.frozen import encoder_key
from velm_lightning.data.features.shards import open_shard, write_shard
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.store import ImageStore
from velm_lightning.encoders import ImageEncoder, MeanConnector, SmallViT
from velm_lightning.fusion import InteractiveFusion, LateFusion, TextOnly
from velm_lightning.io.digests import digest_of, digests_of
from velm_lightning.types import Dataset, ImageTransform, InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of threads

COUNT = 10
FORK = multiprocessing.get_context("fork")


class Counting(ImageEncoder):
    """An encoder that counts the images that it encodes in all processes."""

    def __init__(self, dim=12):
        super().__init__(ImageTransform(tiny.SIZE))
        self.dim, self.grid = dim, (4, 4)
        self.patches = torch.nn.Conv2d(3, dim, 4, stride=4)

    def encode(self, pixels):
        with num_encoded.get_lock():
            num_encoded.value += len(pixels)
        return self.patches(pixels).flatten(2).transpose(1, 2)


num_encoded = FORK.Value("i", 0)


@pytest.fixture
def encoder():
    num_encoded.value = 0
    return Counting().requires_grad_(False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("velm_lightning.data.features.extraction.SHARD", 4)
    for number in range(COUNT):
        Image.effect_noise((20, 30), 20 * (number + 1)).save(tmp_path / f"{number}.png")
    return tmp_path


def files(folder) -> list[Path]:
    return [folder / f"{number}.png" for number in range(COUNT)]


def store(folder, images, encoder) -> FeatureStore:
    return FeatureStore(images, encoder, folder / "cache", progress=False)


def shards(features) -> list[Path]:
    return sorted(features.folder.glob("*.safetensors"))


def truth(images, encoder) -> torch.Tensor:
    pictures = ImageStore(images, encoder.transform, progress=False).fetch(range(len(images)))
    before = num_encoded.value
    tokens = encoder.eval()(pictures).embeddings
    num_encoded.value = before
    return tokens


def assert_right(features, images, encoder):
    got = features.fetch(range(len(images)))
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), truth(images, encoder), rtol=2e-3, atol=1e-3)


# Equality with the encoder


def test_features_are_what_the_encoder_gives(folder, encoder):
    features = store(folder, files(folder), encoder)
    assert_right(features, files(folder), encoder)
    assert len(features) == features.num_images == features.num_computed == num_encoded.value == COUNT
    assert torch.equal(features.fetch([7, 2, 7]), features.fetch(range(COUNT))[[7, 2, 7]])
    again = store(folder, files(folder), encoder)
    assert torch.equal(again.fetch(range(COUNT)), features.fetch(range(COUNT)))
    assert again.num_computed == 0
    assert num_encoded.value == COUNT + 2  # two are encoded again to detect changed code


def test_tensors_and_clips(folder, encoder):
    tensors = [tiny.picture(seed) for seed in range(5)]
    assert_right(store(folder, tensors, encoder), tensors, encoder)
    clips = [(tensors[0], tensors[1]), (tensors[4], tensors[0])]
    got = store(folder, clips, encoder).fetch([1, 0])
    assert got.shape == (2, 2, 16, 12)
    assert torch.equal(got, store(folder, tensors, encoder).fetch([4, 0, 0, 1]).view(got.shape))
    torch.testing.assert_close(
        encoder(got).embeddings,
        encoder(torch.stack([torch.stack(clips[i]) for i in (1, 0)])).embeddings,
        rtol=2e-3,
        atol=1e-3,
    )


def test_each_content_is_encoded_once(folder, encoder):
    shutil.copy(folder / "3.png", folder / "copy.png")
    images = [*files(folder) * 5, folder / "copy.png"]
    features = store(folder, images, encoder)
    assert num_encoded.value == features.num_images == COUNT
    assert torch.equal(features.fetch([50]), features.fetch([3]))
    more = store(folder, [folder / "copy.png", tiny.picture(0)], encoder)  # of another split
    assert more.num_computed == 1


def test_the_encoder_is_left_as_it_was(folder):
    encoder = SmallViT(size=tiny.SIZE, patch=8, dim=12, depth=1, heads=2, dropout=0.5).requires_grad_(False)
    encoder.train()
    encoder.layers.eval()
    modes = [module.training for module in encoder.modules()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = store(folder, files(folder), encoder)
    assert [module.training for module in encoder.modules()] == modes
    assert_right(features, files(folder), encoder)


def test_it_can_be_sent_to_another_process(folder, encoder):
    features = store(folder, files(folder), encoder)
    state = pickle.dumps(features)
    assert torch.equal(pickle.loads(state).fetch([5, 1]), features.fetch([5, 1]))
    assert b"Counting" in state  # the folder's name
    assert len(state) < COUNT * 16 * 12
    shards(features)[0].unlink()
    with pytest.raises(InputError, match="was removed or damaged during use"):
        pickle.loads(state)


# Changes of the key


def test_any_change_of_the_encoder_changes_its_key(encoder):
    first = encoder_key(encoder)
    assert first == encoder_key(encoder.train()) == encoder_key(pickle.loads(pickle.dumps(encoder)))
    encoder.patches.bias[0] += 1e-6
    assert encoder_key(encoder) != first
    encoder.patches.bias[0] -= 1e-6
    encoder.patches.bias.zero_()
    keys = [encoder_key(encoder)]
    encoder.transform = encoder.transform._replace(interpolation="bicubic")
    keys.append(encoder_key(encoder))
    encoder.mean += 1
    keys.append(encoder_key(encoder))
    encoder._init_args["dim"] = 13
    keys.append(encoder_key(encoder))
    assert len({first, *keys}) == 5


def test_features_of_other_weights_are_kept(folder, encoder):
    images = files(folder)
    store(folder, images, encoder)
    encoder.patches.weight.mul_(-1)
    assert_right(store(folder, images, encoder), images, encoder)
    assert num_encoded.value == 2 * COUNT
    encoder.patches.weight.mul_(-1)
    assert_right(store(folder, images, encoder), images, encoder)


def test_a_changed_image_is_encoded_again(folder, encoder):
    images = files(folder)
    store(folder, images, encoder)
    times = os.stat(images[2])
    shutil.copy(images[5], images[2])
    os.utime(images[2], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert_right(store(folder, images, encoder), images, encoder)
    Image.effect_noise((20, 30), 250).save(images[2])
    assert store(folder, images, encoder).num_computed == 1
    assert_right(store(folder, images, encoder), images, encoder)


def test_other_code_for_the_same_weights_is_refused(folder, encoder, monkeypatch):
    store(folder, files(folder), encoder)
    encode = Counting.encode
    monkeypatch.setattr(Counting, "encode", lambda self, pixels: encode(self, pixels).roll(1, 1))
    with pytest.raises(InputError, match=r"features.Counting-.* were computed by other code.*remove the folder"):
        store(folder, files(folder), encoder)


def test_a_image_that_changes_meanwhile_is_refused(folder, encoder, monkeypatch):
    monkeypatch.setattr(features, "digests_of", lambda images, _: [b"x" * 15 + bytes([i]) for i in range(COUNT)])
    with pytest.raises(InputError, match="0.png: changed while its features were computed"):
        store(folder, files(folder), encoder)


def test_files_are_read_once_until_they_change(folder, monkeypatch):
    images, notes = files(folder), folder / "notes"
    assert digests_of(images, notes) == [digest_of(image) for image in images]
    assert not notes.exists()  # the files are so new that a change might not change their times
    monkeypatch.setattr("velm_lightning.io.digests._AT_REST", -60)
    expected = digests_of(images, notes)
    with monkeypatch.context() as patch:
        patch.setattr("velm_lightning.io.digests.digest_of", None)
        assert digests_of(images, notes) == expected
    (note,) = notes.iterdir()
    note.write_bytes(note.read_bytes()[:-1] + b"x")
    assert digests_of(images, notes) == expected
    times = os.stat(images[2])
    Image.open(images[2]).rotate(180).save(images[2], compress_level=0)
    os.utime(images[2], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digests_of(images, notes)[2] == digest_of(images[2]) != expected[2]


# Damage


@pytest.mark.parametrize("place", ["header", "names", "tokens", "end"])
def test_a_damaged_shard_is_made_again(folder, encoder, capsys, place):
    images = files(folder)
    features = store(folder, images, encoder)
    first = shards(features)[0]
    whole = bytearray(first.read_bytes())
    at = {"header": 60, "names": whole.index(open_shard(first).digests[0]) + 3, "tokens": len(whole) // 2, "end": -1}
    whole[at[place]] ^= 4
    first.write_bytes(whole)
    again = store(folder, images, encoder)
    assert_right(again, images, encoder)
    assert 0 < again.num_computed <= 4
    assert "damaged" in capsys.readouterr().err
    assert store(folder, images, encoder).num_computed == 0


def test_no_damaged_byte_goes_unseen(folder, encoder):
    images = files(folder)[:2]
    features = store(folder, images, encoder)
    (shard,) = shards(features)
    whole, expected = shard.read_bytes(), features.fetch([0, 1])
    for at in range(0, len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << at % 8
        shard.write_bytes(spoilt)
        assert torch.equal(store(folder, images, encoder).fetch([0, 1]), expected), at
        shard.write_bytes(whole)


def test_a_half_written_file_is_never_read(folder, encoder):
    images = files(folder)
    features = store(folder, images, encoder)
    first, second, _ = shards(features)
    (first.parent / f".{first.name}.1-1.part").write_bytes(first.read_bytes()[:100])  # as left by a killed process
    second.write_bytes(second.read_bytes()[:-50])  # as left by a truncated copy
    first.unlink()
    again = store(folder, images, encoder)
    assert_right(again, images, encoder)
    assert 0 < again.num_computed < COUNT
    assert not list(features.folder.glob("*.part"))


def test_a_shard_of_another_encoder_is_not_taken(folder, encoder):
    images = files(folder)
    features = store(folder, images, encoder)
    wrong = open_shard(shards(features)[0])
    write_shard(shards(features)[0], wrong.digests, wrong.tokens * 0, "0" * 32)
    assert_right(store(folder, images, encoder), images, encoder)


def test_an_interrupted_extraction_goes_on_where_it_stopped(folder, encoder, monkeypatch):
    encode = Counting.encode

    def interrupted(self, pixels):
        if num_encoded.value >= 8:
            raise KeyboardInterrupt
        return encode(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store(folder, files(folder), encoder)
    features = store(folder, files(folder), encoder)
    assert features.num_computed == COUNT - 8
    assert_right(features, files(folder), encoder)


# Several processes


def run_store(folder, encoder, results):
    features = store(folder, files(folder), encoder)
    results.put(features.fetch(range(COUNT)).float().numpy())


def wait_for(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened for a minute")


def test_processes_share_the_work(folder, encoder, monkeypatch):
    encode = Counting.encode
    monkeypatch.setattr(Counting, "encode", lambda self, pixels: (time.sleep(0.05), encode(self, pixels))[1])
    results = FORK.Queue()
    workers = [FORK.Process(target=run_store, args=(folder, encoder, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    tokens = [torch.from_numpy(results.get(timeout=120)) for _ in workers]
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert num_encoded.value <= COUNT + 2 * len(
        workers
    )  # each image once; a process that starts later encodes two again
    assert all(torch.equal(process_tokens, tokens[0]) for process_tokens in tokens)
    assert_right(store(folder, files(folder), encoder), files(folder), encoder)


def test_the_lock_of_a_killed_process_is_released(folder, encoder, monkeypatch):
    encode = Counting.encode

    def stuck(self, pixels):
        if num_encoded.value >= 4:
            time.sleep(300)
        return encode(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "encode", stuck)
        worker = FORK.Process(target=run_store, args=(folder, encoder, FORK.Queue()))
        worker.start()
    wait_for(lambda: list(folder.rglob("*.safetensors")))  # its first shard
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(120)
    features = store(folder, files(folder), encoder)
    assert features.num_computed == COUNT - 4
    assert_right(features, files(folder), encoder)


# Refusals


def test_values_beyond_float16_are_refused(folder, encoder):
    encoder.patches.bias.fill_(1e5)
    with pytest.raises(InputError, match=r"0\.png do not fit float16: set data.cache_features to false"):
        store(folder, files(folder), encoder)


def test_a_full_disk_is_reported_before_it_is_full(folder, encoder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(InputError, match="GB more and 0.0 GB are free.*data.cache"):
        store(folder, files(folder), encoder)


@pytest.fixture
def small_files():
    """The largest size of a file that this process may write, as on a disk that is almost full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_is_one_sentence_and_work_is_kept(folder, encoder, small_files, monkeypatch):
    write, written = extraction.write_shard, []

    def limited(path, *rest):
        small_files(10**6 if not written else 100)
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(extraction, "write_shard", limited)
    with pytest.raises(InputError, match=r"safetensors cannot be written: File too large: free some space"):
        store(folder, files(folder), encoder)
    small_files(10**6)
    monkeypatch.undo()
    assert not list(folder.rglob("*.part"))
    assert store(folder, files(folder), encoder).num_computed == COUNT - 4


def test_a_folder_that_cannot_be_written_is_named(folder, encoder):
    (folder / "cache").write_text("a file stands in the way")
    with pytest.raises(InputError, match="cache.*features cannot be written"):
        store(folder, files(folder), encoder)


def test_unreadable_images_are_named(folder, encoder):
    (folder / "3.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"3\.png: the file is empty"):
        store(folder, files(folder), encoder)
    (folder / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png: cannot be read"):
        store(folder, files(folder), encoder)


# In training


class Questions(Dataset):
    """Twelve questions about four images, the same in every split."""

    def split(self, name: str) -> Sequence:
        samples = [sample for sample in tiny.questions() for _ in range(4)]
        return [sample._replace(key=f"{name}{i}", image=PICTURES[i % 4]) for i, sample in enumerate(samples)]


PICTURES = [tiny.picture(seed) for seed in range(4)]


def fitted(tmp_path, model=InteractiveFusion, **data):
    torch.manual_seed(0)
    module = MultimodalData(Questions(), batch_size=5, cache_dir=tmp_path, **data)
    fusion = tiny.fusion(model, vocabulary=module.vocabulary, image_encoder=Counting().requires_grad_(False))
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(fusion, datamodule=module)
    return fusion, module


@pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|smaller than the logging|eval mode)")
class TestTraining:
    def test_training_is_the_same_as_without_the_cache(self, tmp_path):
        (plain, _), (cached, data) = (fitted(tmp_path, cache_features=keep) for keep in (False, True))
        batch = data.split("val").__getitems__([(0, 1), (0, 2)])
        assert batch.image.dtype == torch.float16
        assert data.split("val").pictured([1, 2]).image.dtype == torch.uint8
        for expected, other in zip(plain.rows, cached.rows, strict=True):
            assert expected.prediction == other.prediction
            assert other.loss == pytest.approx(expected.loss, rel=1e-3)
        for expected, other in zip(plain.parameters(), cached.parameters(), strict=True):
            torch.testing.assert_close(expected, other, rtol=1e-2, atol=1e-3)

    def test_a_model_that_uses_the_mean_gets_means(self, tmp_path):
        """Training and rows are those without the cache; pictures for the gallery have all of their tokens."""
        plain, cached = (
            fitted(tmp_path, partial(LateFusion, connector=MeanConnector()), cache_features=keep)
            for keep in (False, True)
        )
        assert cached[1].split("val").__getitems__([(0, 1), (0, 2)]).image.shape == (2, 1, 12)
        assert cached[1].split("val").pictured([1, 2]).image.dtype == torch.uint8
        for expected, other in zip(plain[0].rows, cached[0].rows, strict=True):
            assert expected.prediction == other.prediction
            assert other.loss == pytest.approx(expected.loss, rel=1e-3)
        data = cached[1]
        data.connect(tiny.fusion(vocabulary=data.vocabulary, image_encoder=cached[0].image_encoder))
        assert data.with_features("val").__getitems__([(0, 1)]).image.shape == (1, 16, 12)

    def test_a_model_that_sees_no_image_needs_no_features(self, tmp_path):
        _, data = fitted(tmp_path, TextOnly, cache_features=True)
        assert data.split("train").features is None
        assert not (tmp_path / "features").exists()

    def test_new_weights_bring_new_features(self, tmp_path):
        model, data = fitted(tmp_path, cache_features=True)
        before = data.with_features("val").features
        assert data.with_features("val").features is before
        next(model.image_encoder.parameters()).add_(1)
        assert data.with_features("val").features.key != before.key

    def test_loader_workers_read_features(self, tmp_path):
        _, data = fitted(tmp_path, cache_features=True)
        here = [batch.image for batch in data.val_dataloader()]
        data.num_workers = 1
        assert all(torch.equal(a, b.image) for a, b in zip(here, data.val_dataloader(), strict=True))

    def test_an_encoder_that_is_unfrozen_stops_the_run(self, tmp_path):
        model, data = fitted(tmp_path, cache_features=True)
        model.image_encoder.requires_grad_(True)
        with pytest.raises(InputError, match="Counting is trained"):
            data.on_before_batch_transfer(None, 0)


def test_an_encoder_that_learns_is_refused(tmp_path):
    data = MultimodalData(Questions(), cache_dir=tmp_path, cache_features=True)
    with pytest.raises(InputError, match=r"data.cache_features=true.*SmallCNN is trained.*to false"):
        data.connect(tiny.fusion())


def test_augmentation_is_refused():
    with pytest.raises(InputError, match=r"data.cache_features=true.*data.augment has 1"):
        MultimodalData(Questions(), cache_features=True, augment=[torch.nn.Identity()])


CONFIG = """
data:
  dataset: {class_path: ShapeScenes, init_args: {size: 32, train: 6, val: 2, test: 2}}
  cache_dir: %s
model:
  class_path: LateFusion
  init_args:
    image_encoder: {class_path: TorchvisionCNN, init_args: {name: mobilenet_v2, weights: null, size: 32}}
    text_encoder: {class_path: TransformerTextEncoder, init_args: {dim: 8, depth: 1, heads: 2}}
    task: {class_path: Classification}
"""


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_the_command_computes_and_prints_them(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(CONFIG % (tmp_path / "cache"))
    for made in ("6", "0"):
        assert main(["features", str(tmp_path / "run.yaml")]) == 0
        printed = capsys.readouterr().out
        assert [word for word in printed.split("train")[1].split() if word.isdigit()][1:3] == ["6", made]
        assert str(tmp_path / "cache" / "features" / "TorchvisionCNN-") in printed
    assert main(["features", str(tmp_path / "none.yaml")]) == 2
    assert main(["features", str(tmp_path / "run.yaml"), "--model", "TextOnly"]) == 2
    printed = capsys.readouterr().err
    assert "none.yaml: cannot be read" in printed
    assert "TextOnly has no image encoder" in printed


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_the_command_on_a_full_disk_says_so_and_can_be_repeated(tmp_path, capsys, small_files):
    (tmp_path / "run.yaml").write_text(CONFIG % (tmp_path / "cache"))
    small_files(200)
    assert main(["features", str(tmp_path / "run.yaml")]) == 2
    small_files(10**8)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot be written: File too large: free some space" in last
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".part", ".safetensors")]
    assert main(["features", str(tmp_path / "run.yaml")]) == 0


def test_a_model_that_uses_the_mean_reads_the_mean(folder, encoder):
    """The mean is that of the tokens, each is computed once, and a model that needs the tokens gets them again."""
    features = store(folder, files(folder), encoder)
    tokens = features.fetch([3, 0, 3])
    features.as_mean = True
    means = features.fetch([3, 0, 3])
    assert means.dtype == torch.float32
    assert torch.equal(means, tokens.float().mean(1, keepdim=True))
    assert features._mean(3) is features._mean(3)
    assert not pickle.loads(pickle.dumps(features))._means  # loader processes compute their own
    assert features.fetch([]).shape == (0, 1, encoder.dim)
    features.as_mean = False
    assert torch.equal(features.fetch([3, 0, 3]), tokens)


def test_the_means_that_a_process_keeps_are_bounded(folder, encoder, monkeypatch):
    monkeypatch.setattr("velm_lightning.data.features.store._MOST", 2 * 4 * encoder.dim)
    features = store(folder, files(folder), encoder)
    features.as_mean = True
    means = features.fetch(range(COUNT))
    assert len(features._means) == 2
    assert torch.equal(means, features.fetch(range(COUNT)))
