"""The data module on conversations: batches, long ones, unreadable images, features, and other images."""

import logging
from pathlib import Path

import pytest
import torch
from helpers import dialogues, tiny

from velm_lightning.data import MultimodalData
from velm_lightning.data.collate import Texts, cut_targets, image_names
from velm_lightning.data.incongruent import with_other_images
from velm_lightning.fusion import EarlyFusion
from velm_lightning.tasks import Generation
from velm_lightning.tasks.floors import training_answers
from velm_lightning.text.tokenizers import TrainedTokenizer
from velm_lightning.types import InputError

LONG = (dialogues.user("how many"), dialogues.reply("blue stars"), *dialogues.TWO_IMAGES)


def of(samples, **arguments):
    data = MultimodalData(
        tiny.Samples(train=samples, val=samples),
        **{"max_length": 64, "tokenizer": TrainedTokenizer("word")} | arguments,
    )
    model = tiny.fusion(EarlyFusion, vocabulary=data.vocabulary, task=Generation())
    data.connect(model)
    return data


def read(data, *indices):
    return data.split("train").read([(0, index) for index in indices])


def test_images_are_padded_to_the_most_of_a_batch():
    data = of(dialogues.samples())
    batch = read(data, 2, 0, 1)
    assert batch.image.shape == (3, 2, 3, tiny.SIZE, tiny.SIZE)
    wanted = [[tiny.picture(2), None], [tiny.picture(0), tiny.picture(1)], [None, None]]
    for row, images in enumerate(wanted):
        for place, image in enumerate(images):
            assert torch.equal(batch.image[row, place], torch.zeros_like(batch.image[0, 0]) if image is None else image)
    assert (batch.image_places >= 0).tolist() == [[True, False], [True, True], [False, False]]


def test_a_batch_without_images_has_one_that_no_word_sees():
    batch = read(of(dialogues.samples()), 1)
    assert batch.image.shape[:2] == (1, 1)
    assert batch.image_places.tolist() == [[-1]]


def test_a_split_may_have_no_image_at_all():
    for cache in ("memory", "disk", "disabled"):
        assert read(of([dialogues.samples()[1]], image_cache=cache), 0).image.shape == (1, 1, 3, tiny.SIZE, tiny.SIZE)


def test_ordinary_samples_may_stand_between_conversations():
    batch = read(of([dialogues.samples()[0], *tiny.translations()]), 0, 1)
    assert batch.image_places.tolist()[1] == [0, -1]
    assert torch.equal(batch.image[1, 0], tiny.picture(0))
    assert torch.equal(batch.target_mask[1], batch.block_ids[1] > 0)


def test_clips_may_not():
    clip = tiny.translations()[0]._replace(image=(tiny.picture(0), tiny.picture(1)))
    with pytest.raises(InputError, match="sample 't0' is a clip"):
        Texts([dialogues.samples()[0], clip], tiny.vocabulary())


def test_long_conversations_lose_their_first_turns_and_are_counted(caplog):
    samples = [dialogues.sample("long", LONG, dialogues.samples()[0].image), *dialogues.samples()[1:]]
    longest = len(Texts(samples, tiny.vocabulary()).prompt_ids[0])
    data = of(samples, max_length=longest - 1)
    with caplog.at_level(logging.WARNING):
        whole = read(data, 0)
    assert "1 of 3 conversations have more tokens than data.max_length=" in caplog.text
    assert "takes 2 turns from their beginnings; the first is 'long'" in caplog.text
    assert torch.equal(whole.image[0, 1], tiny.picture(1))
    assert whole.target_mask.sum() == 5
    short = of(samples, max_length=longest - 1, on_long_conversation="error")
    with pytest.raises(InputError, match="raise data.max_length, or set data.on_long_conversation to drop_turns"):
        short.split("train")


def test_images_of_dropped_turns_are_dropped():
    samples = dialogues.samples()
    texts = Texts(samples, tiny.vocabulary(max_length=12))
    assert [len(texts.image_indices([i])) for i in range(3)] == [1, 0, 1]
    assert torch.equal(texts.images[0], tiny.picture(1))
    assert texts.conversations[0].block_ids[0] == 0


def test_a_last_exchange_that_is_too_long_is_refused():
    with pytest.raises(InputError, match=r"of 2 conversations .* data.max_length=6, the first is 'none': set it to 12"):
        Texts(dialogues.samples(), tiny.vocabulary(max_length=6))


def test_marks_and_images_must_agree():
    with pytest.raises(InputError, match="sample 'a' has 2 marks and 1 images"):
        Texts([dialogues.sample("a", dialogues.TWO_IMAGES, [tiny.picture(0)])], tiny.vocabulary())


def test_a_conversation_with_an_unreadable_image_is_skipped(tmp_path, caplog):
    samples = dialogues.samples()
    samples[0] = samples[0]._replace(image=(tiny.picture(0), Path(tmp_path / "gone.png")))
    data = of(samples, on_bad_image="skip", image_cache="disabled")
    assert read(data, 0, 1, 2).keys == ("none", "later")
    assert "skipped: sample 'two'" in caplog.text
    with pytest.raises(InputError, match=r"sample 'two': .*gone\.png"):
        read(of(samples, image_cache="disabled"), 0, 1, 2)


def test_cached_features_stand_at_the_marks(tmp_path):
    samples = dialogues.samples()
    data = MultimodalData(tiny.Samples(train=samples), max_length=64, cache_features=True, cache_dir=tmp_path)
    model = tiny.fusion(EarlyFusion, vocabulary=data.vocabulary, task=Generation()).eval()
    model.image_encoder.freeze(0)
    data.connect(model)
    split = data.with_features("train")
    for indices in ([0, 1, 2], [1]):
        batch = split.read([(0, i) for i in indices])
        assert batch.image.is_floating_point()
        with torch.no_grad():
            torch.testing.assert_close(
                model(batch).embeddings, model(split.pictured(indices)).embeddings, atol=2e-3, rtol=2e-3
            )


def test_incongruent_images_keep_their_number():
    others = with_other_images(dialogues.samples(), 0)
    assert [len(sample.image) for sample in others] == [2, 0, 1]
    images = [image for sample in others for image in sample.image]
    assert all((image != tiny.picture(n)).any() for n, image in enumerate(images))
    assert {int(image.sum()) for image in images} == {int(tiny.picture(n).sum()) for n in range(3)}


def test_replies_of_one_conversation_share_a_name():
    two, none, _ = dialogues.samples()
    first = two._replace(key="first", turns=two.turns[:2], image=two.image[:1])
    again = none._replace(key="again", turns=(*none.turns, *none.turns))
    other = none._replace(key="other", turns=(dialogues.user("what"), none.turns[1]))
    assert image_names([first, two, none, again, other]) == ["first", "first", "none", "none", "other"]


def test_the_fingerprint_changes_with_the_turns():
    samples = dialogues.samples()
    silent = [sample._replace(turns=tuple(t._replace(learned=False) for t in sample.turns)) for sample in samples]
    assert of(samples).fingerprint("train") != of(silent).fingerprint("train")


def test_targets_of_conversations_are_not_cut():
    with pytest.raises(InputError, match=r"data\.target_lengths is not for conversations"):
        cut_targets(dialogues.batch(dialogues.samples(), tiny.vocabulary()), 2, 0)


def test_every_learned_reply_is_a_target_of_the_split():
    data = of(dialogues.samples())
    replies = ["blue stars", "red", "ein roter kreis", "red", "blue stars are there"]
    assert data.sentences("train") == replies
    assert training_answers(dialogues.samples())["red"] == 2 / 5
