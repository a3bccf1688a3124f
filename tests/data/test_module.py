"""The data module: batches, vocabulary, and order and augmentation that workers, ranks and fusions do not change."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from velm_lightning.data import MultimodalData
from velm_lightning.io.seeding import stable_number
from velm_lightning.text.tokenizers import TrainedTokenizer
from velm_lightning.types import ImageTransform, InputError, Sample

FLIPS = (v2.RandomHorizontalFlip(0.5), v2.RandomCrop(tiny.SIZE, padding=2))


def data(train=24, val=7, test=5, place=(0, 1), **arguments):
    """A data module at one rank, for a model that expects images without resizing."""
    splits = {"train": tiny.many(train), "val": tiny.many(val, "val"), "test": tiny.many(test, "test")}
    made = MultimodalData(**{"dataset": tiny.Samples(**splits), "batch_size": 4} | arguments)
    made.trainer = SimpleNamespace(
        global_rank=place[0], world_size=place[1], is_global_zero=place[0] == 0, lightning_module=model()
    )
    made.setup("fit")
    return made


def model():
    return SimpleNamespace(transform=ImageTransform(tiny.SIZE), image_encoder=tiny.cnn())


def train(made, epoch=0):
    loader = made.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def merged(batches):
    """Keys and images of several batches, concatenated."""
    return sum((batch.keys for batch in batches), ()), torch.cat([batch.image for batch in batches])


def pictures(batches):
    """The image of each key."""
    return {key: image for batch in batches for key, image in zip(batch.keys, batch.image, strict=True)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# Batches


def test_a_batch_holds_each_samples_own_image_text_and_answers():
    samples = {sample.key: sample for sample in tiny.many(24)}
    batches = train(data())
    assert sorted(key for batch in batches for key in batch.keys) == sorted(samples)
    for batch in batches:
        assert batch.size == 4
        for row, key in enumerate(batch.keys):
            assert torch.equal(batch.image[row], samples[key].image)
            assert batch.prompts[row] == samples[key].text
            assert batch.answers[row].argmax() == ["no", "yes"].index(samples[key].references[0])


def test_evaluation_reads_each_split_in_its_order():
    made = data(val=40, test=33)
    for loader, name in ((made.val_dataloader(), "val"), (made.test_dataloader(), "test")):
        keys = [key for batch in loader for key in batch.keys]
        assert keys == [sample.key for sample in made.samples(name)]


def test_prediction_uses_the_test_split_or_else_validation():
    assert next(iter(data().predict_dataloader())).keys[0] == "test-000"
    assert next(iter(data(test=0).predict_dataloader())).keys[0] == "val-000"


def test_images_take_the_geometry_that_the_model_wants():
    made = data()
    made.trainer.lightning_module.transform = ImageTransform(tiny.SIZE // 2)
    made.setup("fit")
    assert train(made)[0].image.shape == (4, 3, tiny.SIZE // 2, tiny.SIZE // 2)


def test_without_a_model_the_transform_is_asked_for():
    made = MultimodalData(tiny.Samples(train=tiny.many(4)))
    with pytest.raises(InputError, match="set data.transform to the model's `transform`"):
        made.train_dataloader()
    made.transform = ImageTransform(tiny.SIZE)
    assert next(iter(made.train_dataloader())).size == 4


def test_clips_are_batches_of_frames():
    clip = tuple(tiny.picture(n) for n in range(2))
    samples = [sample._replace(image=clip) for sample in tiny.many(4)]
    assert train(data(dataset=tiny.Samples(train=samples)))[0].image.shape == (4, 2, 3, tiny.SIZE, tiny.SIZE)


def test_the_loader_has_another_order_in_each_epoch():
    made = data()
    loader = made.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        epochs.append(merged(loader)[0])
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])


# Order and augmentation


@pytest.mark.parametrize("world", [2, 3])
def test_the_batches_of_all_ranks_equal_those_of_one_process(world):
    alone = train(data(batch_size=6, augment=FLIPS), epoch=1)
    ranks = [train(data(batch_size=6 // world, augment=FLIPS, place=(r, world)), epoch=1) for r in range(world)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        keys, images = merged(parts)
        assert keys == whole.keys
        assert torch.equal(images, whole.image)


@pytest.mark.parametrize("world", [2, 3])
def test_evaluation_batches_are_the_same_for_any_process_count(world):
    alone = list(data(val=37).val_dataloader())
    ranks = [list(data(val=37, place=(rank, world)).val_dataloader()) for rank in range(world)]
    together = sorted((batch for rank in ranks for batch in rank), key=lambda batch: batch.keys)
    assert [batch.keys for batch in together] == [batch.keys for batch in alone]
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a.image, b.image)


def test_workers_change_neither_order_nor_augmentation():
    runs = [[merged(train(data(num_workers=workers, augment=FLIPS), epoch)) for epoch in (0, 1)] for workers in (0, 2)]
    for (keys, images), (worker_keys, worker_images) in zip(*runs, strict=True):
        assert worker_keys == keys
        assert torch.equal(worker_images, images)


def test_augmentation_is_a_function_of_seed_epoch_and_key():
    first = pictures(train(data(augment=FLIPS, seed=1), epoch=2))
    torch.manual_seed(99)
    other_batches = pictures(train(data(augment=FLIPS, seed=1, batch_size=3), epoch=2))
    assert same(first, other_batches)
    assert not same(first, pictures(train(data(augment=FLIPS, seed=1), epoch=3)))
    assert not same(first, pictures(train(data(augment=FLIPS, seed=2), epoch=2)))


def test_samples_that_show_one_image_are_augmented_apart():
    image = tiny.picture(0)
    samples = [sample._replace(image=image) for sample in tiny.many(24)]
    images = pictures(train(data(dataset=tiny.Samples(train=samples), augment=FLIPS)))
    assert len({image.numpy().tobytes() for image in images.values()}) > 10


def test_augmentation_is_drawn_from_a_documented_seed():
    class Noise(nn.Module):
        def forward(self, image):
            return torch.randint_like(image, 256)

    for key, image in pictures(train(data(augment=[Noise()], seed=5), epoch=3)).items():
        generator = torch.Generator().manual_seed(stable_number(5, 3, key))
        assert torch.equal(image, torch.randint(0, 256, image.shape, dtype=torch.uint8, generator=generator))


def test_augmentation_does_not_change_the_random_state():
    made = data(augment=FLIPS)
    before = torch.get_rng_state()
    made.split("train").__getitems__([(0, 0), (0, 1)])
    assert torch.equal(torch.get_rng_state(), before)


def test_targets_grow_in_the_first_epochs_of_training_only():
    splits = {name: [s._replace(target="a red circle") for s in tiny.many(8, name)] for name in ("train", "val")}
    made = data(dataset=tiny.Samples(**splits), target_lengths=[1, 3])
    longest = [max(int(batch.block_ids.max()) for batch in train(made, epoch)) for epoch in range(4)]
    assert longest == [1, 3, 4, 4]  # the fourth is its end token
    assert {int(batch.block_ids.max()) for batch in made.val_dataloader()} == {4}


def test_evaluation_is_not_augmented():
    made = data(augment=FLIPS)
    for name in ("val", "test"):
        batch = made.split(name).__getitems__([(0, i) for i in range(5)])
        assert torch.equal(batch.image, torch.stack([sample.image for sample in made.samples(name)[:5]]))


def test_the_order_follows_the_seed():
    assert merged(train(data(seed=1)))[0] == merged(train(data(seed=1)))[0] != merged(train(data(seed=2)))[0]


def test_a_balanced_order_draws_all_answers_equally_often():
    samples = [sample._replace(target={("no" if i else "yes"): 1.0}) for i, sample in enumerate(tiny.many(24))]
    made = data(dataset=tiny.Samples(train=samples), balance=1.0)
    draws = Counter(key == "train-000" for epoch in range(40) for key in merged(train(made, epoch))[0])
    assert draws[True] / draws.total() == pytest.approx(0.5, abs=0.05)


def test_the_order_is_known_without_reading_a_batch():
    made = data()
    order = made.train_order()
    order.set_epoch(2)
    keys = [made.samples("train")[index].key for _, index in order]
    assert tuple(keys) == merged(train(made, 2))[0]


# Vocabulary and splits


def test_words_come_only_from_the_training_split():
    splits = {"train": [sample("a", "red circle")], "val": [sample("a", "blue square")]}
    words = MultimodalData(tiny.Samples(**splits), TrainedTokenizer("word")).vocabulary
    assert words.unknown not in words.encode(["red circle"])[0]
    assert words.encode(["blue"]) == [[words.unknown]]


def test_words_of_sentences_to_produce_count_too():
    words = MultimodalData(tiny.Samples(train=[sample("a", "red", target="ein roter kreis")])).vocabulary
    assert words.unknown not in words.encode(["ein roter kreis"])[0]
    assert words.answers == []


def test_answers_are_ranked_by_their_weight_and_then_by_name():
    samples = [
        sample("a", target={"yes": 1.0, "no": 0.3}),
        sample("b", target={"yes": 0.3, "zebra": 1.0}),
        sample("c", target={"no": 0.7, "cat": 1.0}),
    ]
    words = MultimodalData(tiny.Samples(train=samples)).vocabulary
    assert words.answers == ["yes", "cat", "no", "zebra"]
    assert words.counts == pytest.approx([1.3, 1.0, 1.0, 1.0])


def test_only_the_most_frequent_answers_can_be_chosen():
    words = MultimodalData(tiny.Samples(train=tiny.many(9)), num_answers=1).vocabulary
    assert (words.answers, words.counts) == (["no"], [6.0])


def test_the_longest_length_reaches_the_vocabulary():
    words = MultimodalData(tiny.Samples(train=tiny.many(9)), max_length=2).vocabulary
    assert words.max_length == 2


@pytest.mark.parametrize("field", ["key", "text", "target", "references", "group"])
def test_the_fingerprint_changes_with_any_field_of_a_sample(field):
    samples = tiny.many(3)
    changed = {"key": "other", "text": "other", "target": {"red": 1.0}, "references": ("other",), "group": "other"}
    other = [*samples[:2], samples[2]._replace(**{field: changed[field]})]
    before, again, after = (
        MultimodalData(tiny.Samples(train=s)).fingerprint("train") for s in (samples, samples, other)
    )
    assert before == again != after
    assert len(before) == 16


def test_a_fingerprint_is_computed_once_per_split(monkeypatch):
    made, reads = data(), Counter()
    split = made.dataset.split
    monkeypatch.setattr(made.dataset, "split", lambda name: reads.update([name]) or split(name))
    first = {name: made.fingerprint(name) for name in ("train", "val")}
    assert {name: made.fingerprint(name) for name in ("train", "val")} == first
    assert reads == {"train": 1, "val": 1}
    assert first["train"] != first["val"]


def test_splits_that_are_missing_are_reported():
    made = data(test=0)
    assert made.has("val")
    assert not made.has("test")
    with pytest.raises(InputError, match="Samples has no 'test' split"):
        made.test_dataloader()


# Refusals


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("num_workers", -1), ("num_workers", 10**6), ("target_lengths", [4, 0])]
    + [("max_length", 0), ("max_length", -1), ("num_answers", -1), ("max_pixels", 0), ("balance", -1.0), ("seed", -1)],
)
def test_numbers_that_make_no_sense_are_refused(name, value):
    """A negative ``max_length`` took the last tokens of every text, a negative ``num_answers`` the rarest answers."""
    with pytest.raises(InputError, match=rf"data\.{name}.*must be .*"):
        data(**{name: value})


@pytest.mark.parametrize("mode", ["memory", "disk", "disabled"])
def test_a_missing_image_is_named(tmp_path, mode):
    Image.new("RGB", (20, 20)).save(tmp_path / "there.png")
    samples = [sample(name, image=tmp_path / f"{name}.png") for name in ("there", "missing")]
    with pytest.raises(InputError, match=r"missing\.png"):
        train(data(dataset=tiny.Samples(train=samples), image_cache=mode, batch_size=2))


@pytest.mark.parametrize("mode", ["memory", "disk", "disabled"])
def test_images_are_the_same_wherever_they_are_kept(tmp_path, mode):
    for n in range(4):
        Image.fromarray(tiny.picture(n).permute(1, 2, 0).numpy()).save(tmp_path / f"{n}.png")
    samples = [sample(str(n), image=tmp_path / f"{n}.png") for n in range(4)]
    images = pictures(train(data(dataset=tiny.Samples(train=samples), image_cache=mode, cache_dir=tmp_path / "cache")))
    assert same(images, {str(n): tiny.picture(n) for n in range(4)})


def sample(key, text="red circle", target=None, image=None):
    return Sample(key, tiny.picture(0) if image is None else image, text, target or {"yes": 1.0}, ("yes",))


# Unreadable images


@pytest.fixture
def with_bad_pictures(tmp_path):
    """Samples whose images are files; the second and the third file are truncated."""
    samples = []
    for sample in tiny.many(8):
        path = tmp_path / f"{sample.key}.png"
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(path)
        samples.append(sample._replace(image=path))
    for sample in samples[1:3]:
        sample.image.write_bytes(sample.image.read_bytes()[:300])
    return samples


def of(samples, **arguments):
    made = MultimodalData(tiny.Samples(train=samples, val=samples), batch_size=4, **arguments)
    made.transform = ImageTransform(tiny.SIZE)
    return made


@pytest.mark.parametrize("mode", ["memory", "disk", "disabled"])
def test_a_sample_without_a_readable_image_may_be_left_out(with_bad_pictures, capsys, tmp_path, mode):
    made = of(with_bad_pictures, image_cache=mode, on_bad_image="skip", cache_dir=tmp_path, augment=[FLIPS[0]])
    keys = [key for batch in train(made) for key in batch.keys]
    readable = [sample.key for place, sample in enumerate(with_bad_pictures) if place not in (1, 2)]
    assert sorted(keys) == readable
    train(made, epoch=1)
    printed = capsys.readouterr().err
    assert printed.count("skipped: sample 'train-001': ") == printed.count("train-002.png: cannot be read") == 1


@pytest.mark.parametrize("mode", ["memory", "disabled"])
def test_it_is_an_error_otherwise(with_bad_pictures, mode):
    with pytest.raises(InputError, match=r"train-00[12]\.png: cannot be read"):
        train(of(with_bad_pictures, image_cache=mode))


def test_an_error_in_mid_epoch_names_the_sample(with_bad_pictures):
    with pytest.raises(InputError, match=r"sample 'train-001': .*train-001\.png: cannot be read"):
        of(with_bad_pictures, image_cache="disabled").split("train").pictured([0, 1])


def test_a_batch_may_be_empty(with_bad_pictures, vocabulary):
    batch = of(with_bad_pictures, image_cache="disabled", on_bad_image="skip").split("train").pictured([1, 2])
    assert (batch.size, batch.image.shape, batch.ids.shape) == (0, (0, 3, tiny.SIZE, tiny.SIZE), (0, 0))
    learner = tiny.fusion()
    learner.training_step(batch, 0).backward()
    assert all(parameter.grad.eq(0).all() for parameter in learner.parameters())
    assert learner.predict_step(batch, 0) == []


def test_kept_features_cannot_skip_images(with_bad_pictures):
    with pytest.raises(InputError, match=r"data\.on_bad_image=skip cannot be combined with data\.cache_features=true"):
        of(with_bad_pictures, on_bad_image="skip", cache_features=True)


def test_paths_given_as_text_are_those_of_a_user(tmp_path):
    made = of(tiny.many(4), cache_dir=str(tmp_path), vocabulary_from="~/a.ckpt")
    assert (made.cache_dir, made.vocabulary_from) == (tmp_path, Path.home() / "a.ckpt")
    assert tiny.fusion(init_from="~/a.ckpt").init_from == Path.home() / "a.ckpt"
