"""Word pieces and answers: training, encoding, decoding, and what travels with a model."""

import multiprocessing
import pickle

import pytest
import tiny
from tokenizers import Tokenizer, processors

from velm_lightning.types import InputError
from velm_lightning.vocabulary import SPECIALS, Vocabulary, train_tokenizer


def test_words_are_lower_cased_and_marks_stand_alone(vocabulary):
    (ids,) = vocabulary.encode(["Is THERE a red circle?"])
    assert [vocabulary.tokenizer.id_to_token(i) for i in ids] == ["is", "there", "a", "red", "circle", "?"]


def test_encoding_adds_no_special_tokens(vocabulary):
    special = {vocabulary.pad, vocabulary.start, vocabulary.end, vocabulary.mask, vocabulary.unknown}
    assert not special & {i for ids in vocabulary.encode(tiny.TEXTS) for i in ids}
    assert vocabulary.encode([""]) == [[]]


def test_special_tokens_of_the_tokenisers_own_are_left_out(vocabulary):
    tokenizer = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    assert Vocabulary(tokenizer.to_str()).encode(tiny.TEXTS) == vocabulary.encode(tiny.TEXTS)


def test_a_word_that_was_never_seen_is_unknown(vocabulary):
    assert vocabulary.encode(["xylophone"]) == [[vocabulary.unknown]]


def test_the_special_tokens_have_the_first_numbers(vocabulary):
    parts = [vocabulary.pad, vocabulary.start, vocabulary.end, vocabulary.mask, vocabulary.unknown]
    assert parts == [0, 1, 2, 3, 4]
    assert [vocabulary.tokenizer.id_to_token(i) for i in parts] == list(SPECIALS)


def test_the_size_counts_words_and_special_tokens(vocabulary):
    assert vocabulary.size == len({word for text in tiny.TEXTS for word in text.split()}) + len(SPECIALS)


def test_texts_are_cut_at_their_end(vocabulary):
    cut = tiny.vocabulary(max_length=3)
    assert cut.encode(tiny.TEXTS) == [ids[:3] for ids in vocabulary.encode(tiny.TEXTS)]


def test_decoding_ends_at_the_first_end_token_and_leaves_special_tokens_out(vocabulary):
    (ids,) = vocabulary.encode(["a red circle"])
    more = [vocabulary.start, *ids, vocabulary.end, *ids, vocabulary.pad]
    assert vocabulary.decode(ids) == "a red circle"
    assert vocabulary.decode([vocabulary.start, *ids, vocabulary.pad]) == "a red circle"
    assert vocabulary.decode(more[1:]) == "a red circle"
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_what_was_encoded_is_decoded(kind):
    words = Vocabulary(train_tokenizer(tiny.TEXTS, kind))
    sentence = "ein roter kreis neben dem blauen stern"
    assert words.decode(words.encode([sentence])[0]) == sentence


def test_marks_stand_again_where_one_writes_them(vocabulary):
    assert vocabulary.decode(vocabulary.encode(["is there a red circle ?"])[0]) == "is there a red circle?"


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_the_case_is_kept_where_asked_for(kind):
    words = Vocabulary(train_tokenizer(["Der rote Kreis."], kind, lowercase=False))
    assert words.decode(words.encode(["Der rote Kreis."])[0]) == "Der rote Kreis."


def test_byte_pairs_know_every_word():
    words = Vocabulary(train_tokenizer(tiny.TEXTS, "bpe"))
    (ids,) = words.encode(["Xylophone ☃"])
    assert words.unknown not in ids
    assert words.decode(ids).strip() == "xylophone ☃"


def test_composed_and_decomposed_letters_are_the_same_word():
    words = Vocabulary(train_tokenizer(["café"]))
    assert words.encode(["cafe\u0301"]) == words.encode(["café"]) != [[words.unknown]]


def test_the_tokeniser_holds_the_most_frequent_words_up_to_its_size():
    words = Vocabulary(train_tokenizer(["a a a b b c"], size=len(SPECIALS) + 2))
    assert words.size == len(SPECIALS) + 2
    assert words.encode(["c"]) == [[words.unknown]]
    assert words.unknown not in words.encode(["a b"])[0]


def test_rare_words_are_left_out():
    words = Vocabulary(train_tokenizer(["a a b"], min_count=2))
    assert words.encode(["b"]) == [[words.unknown]]
    assert words.encode(["a"]) != [[words.unknown]]


def test_training_is_a_function_of_the_texts():
    for kind in ("word", "bpe"):
        assert train_tokenizer(tiny.TEXTS, kind) == train_tokenizer(tiny.TEXTS, kind)


def test_an_unknown_kind_is_refused_with_those_that_exist():
    with pytest.raises(InputError, match="tokenizer.kind is 'chars': choose 'word' or 'bpe'"):
        train_tokenizer(tiny.TEXTS, "chars")


def test_a_tokeniser_with_names_of_its_own_is_told_them():
    theirs = train_tokenizer(tiny.TEXTS).replace("[PAD]", "<pad>").replace("[CLS]", "<s>").replace("[SEP]", "</s>")
    with pytest.raises(InputError, match=r"lacks the special tokens \['\[PAD\]', '\[CLS\]', '\[SEP\]'\].*`specials`"):
        Vocabulary(theirs)
    words = Vocabulary(theirs, specials=("<pad>", "<s>", "</s>", "[MASK]", "[UNK]"))
    assert words.tokenizer.id_to_token(words.end) == "</s>"


def test_one_special_token_may_play_several_parts():
    words = Vocabulary(train_tokenizer(tiny.TEXTS), specials=("[SEP]", "[SEP]", "[SEP]", "[SEP]", "[UNK]"))
    assert words.pad == words.start == words.end == words.mask != words.unknown


def test_answers_are_found_by_their_name(vocabulary):
    assert vocabulary.answer_index == {"no": 0, "red": 1, "yes": 2}


def facts(words):
    return words.encode(tiny.TEXTS), words.answers, words.counts, words.max_length, words.pad, words.size


def test_a_pickled_vocabulary_is_the_same(vocabulary):
    assert facts(pickle.loads(pickle.dumps(vocabulary))) == facts(vocabulary)


@pytest.mark.slow
def test_a_worker_that_was_spawned_gets_the_same_vocabulary(vocabulary):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(facts, (vocabulary,)) == facts(vocabulary)
