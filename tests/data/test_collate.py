"""Collating samples into a batch: the positions and the block ids of all tokens."""

from pathlib import Path

import pytest
import torch
from helpers import tiny

from velm_lightning.data.collate import Texts, cut_targets, image_names, known_answers
from velm_lightning.types import Sample

PICTURES = torch.zeros(3, 3, tiny.SIZE, tiny.SIZE, dtype=torch.uint8)


def collated(*samples, words=None):
    vocabulary = words or tiny.vocabulary()
    return Texts(samples, vocabulary).batch(range(len(samples)), PICTURES[: len(samples)])


def sample(text="", target=None):
    return Sample("key", PICTURES[0], text, target, ())


def pieces(batch, row, words):
    return [words.tokenizer.id_to_token(i).removeprefix("Ġ") for i in batch.ids[row].tolist()]


def test_a_question_stands_between_start_and_end(vocabulary):
    batch = collated(sample("a red circle", {"yes": 1.0}))
    assert pieces(batch, 0, vocabulary) == ["[CLS]", "a", "red", "circle", "[SEP]"]
    assert batch.mask.tolist() == [[True] * 5]
    assert batch.block_ids.tolist() == [[0] * 5]


def test_a_target_sentence_has_its_own_blocks_and_an_end(vocabulary):
    batch = collated(sample("a red circle", "ein roter kreis"))
    assert pieces(batch, 0, vocabulary) == ["[CLS]", "a", "red", "circle", "[SEP]", "ein", "roter", "kreis", "[SEP]"]
    assert batch.block_ids.tolist() == [[0, 0, 0, 0, 0, 1, 2, 3, 4]]


def test_captioning_is_a_sentence_after_an_empty_prompt(vocabulary):
    batch = collated(sample("", "a red circle"))
    assert pieces(batch, 0, vocabulary) == ["[CLS]", "[SEP]", "a", "red", "circle", "[SEP]"]
    assert batch.block_ids.tolist() == [[0, 0, 1, 2, 3, 4]]


def test_an_empty_sentence_is_only_its_end():
    assert collated(sample("a", "")).block_ids.tolist() == [[0, 0, 0, 1]]


def test_the_type_of_the_target_decides_and_nothing_else():
    for target in (None, {"yes": 1.0}, {}):
        assert not collated(sample("a red circle", target)).block_ids.any()


def test_shorter_rows_are_padded_at_their_end(vocabulary):
    batch = collated(sample("a"), sample("a red circle"), sample("", "a"))
    assert batch.ids.shape == batch.mask.shape == batch.block_ids.shape == (3, 5)
    assert pieces(batch, 0, vocabulary) == ["[CLS]", "a", "[SEP]", "[PAD]", "[PAD]"]
    assert batch.mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5, [True] * 4 + [False]]
    assert batch.block_ids.tolist() == [[0] * 5, [0] * 5, [0, 0, 1, 2, 0]]


def test_a_batch_is_as_wide_as_its_own_longest_row():
    texts = Texts([sample("a"), sample("is there a red circle left of the square ?")], tiny.vocabulary())
    assert texts.batch([0], PICTURES[:1]).ids.shape == (1, 3)


def test_fields_have_their_types():
    batch = collated(sample("a", {"yes": 0.3}))
    assert (batch.ids.dtype, batch.mask.dtype, batch.block_ids.dtype) == (torch.int64, torch.bool, torch.int64)
    assert batch.answers.dtype == torch.float32
    assert batch.image.dtype == torch.uint8


def test_prompt_and_sentence_are_each_cut_at_the_longest_length():
    batch = collated(sample("is there a red circle", "is there a red circle"), words=tiny.vocabulary(max_length=2))
    assert batch.block_ids.tolist() == [[0, 0, 0, 0, 1, 2, 3]]


def test_a_truncated_target_has_no_end_token(vocabulary):
    batch = collated(sample("a", "ein roter kreis"), sample("a red circle", "ein"), sample("a", None))
    cut = cut_targets(batch, 2, vocabulary.pad)
    assert pieces(cut, 0, vocabulary) == ["[CLS]", "a", "[SEP]", "ein", "roter", "[PAD]", "[PAD]"]
    assert pieces(cut, 1, vocabulary) == ["[CLS]", "a", "red", "circle", "[SEP]", "ein", "[SEP]"]
    assert cut.block_ids.tolist() == [[0, 0, 0, 1, 2, 0, 0], [0, 0, 0, 0, 0, 1, 2], [0] * 7]
    assert cut.mask.sum(1).tolist() == [5, 7, 3]
    assert all(map(torch.equal, cut_targets(batch, 4, vocabulary.pad)[1:6], batch[1:6]))


def test_answers_are_weights_over_the_vocabularys():
    batch = collated(sample("a", {"yes": 0.6, "no": 0.3}), sample("a", {"red": 1.0}), sample("a"))
    torch.testing.assert_close(batch.answers, torch.tensor([[0.3, 0.0, 0.6], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


def test_answers_that_the_vocabulary_lacks_are_left_out(vocabulary):
    assert known_answers(sample("a", {"zebra": 1.0, "yes": 0.3}), vocabulary) == [(2, 0.3)]
    assert not collated(sample("a", {"zebra": 1.0})).answers.any()


def test_targets_are_either_sentences_or_answers():
    batch = collated(sample("a", "b"), words=tiny.vocabulary(answers=(), counts=()))
    assert batch.answers.shape == (1, 0)


@pytest.mark.parametrize("indices", [[0, 1, 2], [2, 0], [1, 1, 1]])
def test_samples_come_in_the_order_that_was_asked_for(indices):
    samples = tiny.questions()
    batch = Texts(samples, tiny.vocabulary()).batch(indices, PICTURES[: len(indices)])
    wanted = [samples[i] for i in indices]
    assert batch.keys == tuple(sample.key for sample in wanted)
    assert batch.prompts == tuple(sample.text for sample in wanted)
    assert batch.references == tuple(sample.references for sample in wanted)
    assert batch.groups == tuple(sample.group for sample in wanted)
    whole = tiny.batch(samples, tiny.vocabulary())
    for row, index in enumerate(indices):
        assert batch.ids[row][batch.mask[row]].tolist() == whole.ids[index][whole.mask[index]].tolist()
        assert torch.equal(batch.answers[row], whole.answers[index])


def test_images_are_handed_on_as_they_are():
    pictures = torch.stack([tiny.picture(n) for n in range(3)])
    assert Texts(tiny.questions(), tiny.vocabulary()).batch([0, 1, 2], pictures).image is pictures


def test_a_image_is_named_after_the_first_sample_that_shows_it():
    shared, other = tiny.picture(0), tiny.picture(0)
    images = [shared, other, shared, Path("a.jpg"), Path("b.jpg"), Path("a.jpg"), (shared, other), (shared, other)]
    samples = [tiny.questions()[0]._replace(key=f"q{n}", image=image) for n, image in enumerate(images)]
    assert image_names(samples) == ["q0", "q1", "q0", "q3", "q4", "q3", "q6", "q6"]


def test_a_batch_names_its_images():
    assert Texts(tiny.questions(), tiny.vocabulary()).batch([2, 0], torch.zeros(2)).image_names == ("q2", "q0")
