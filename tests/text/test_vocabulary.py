"""Word pieces and answers: training, encoding, decoding, and what travels with a model."""

import multiprocessing
import pickle
from unicodedata import normalize

import pytest
from helpers import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from velm_lightning.text.vocabulary import SPECIALS, Vocabulary, coverage, train_tokenizer
from velm_lightning.types import InputError

BYTES = Vocabulary(train_tokenizer(tiny.TEXTS, "bpe"))


def test_words_and_marks_know_of_the_blank_before_them(vocabulary):
    (ids,) = vocabulary.encode(["is there a red circle ?"])
    assert [vocabulary.tokenizer.id_to_token(i) for i in ids] == ["Ġis", "Ġthere", "Ġa", "Ġred", "Ġcircle", "Ġ?"]
    assert vocabulary.encode(["is there a red circle?"])[0][-1] == vocabulary.unknown, "no text has it without a blank"


def test_lower_case_is_read_and_produced_if_asked_for():
    words = Vocabulary(train_tokenizer(["Is THERE a circle?"], lowercase=True))
    assert words.decode(words.encode(["is there A circle?"])[0]) == "is there a circle?"


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


def test_decoding_stops_at_the_end_token_and_skips_special_ones(vocabulary):
    (ids,) = vocabulary.encode(["a red circle"])
    more = [vocabulary.start, *ids, vocabulary.end, *ids, vocabulary.pad]
    assert vocabulary.decode(ids) == "a red circle"
    assert vocabulary.decode([vocabulary.start, *ids, vocabulary.pad]) == "a red circle"
    assert vocabulary.decode(more[1:]) == "a red circle"
    assert vocabulary.decode([]) == ""


WRITTEN = (
    *("10:30", "T-shirt", "it's Paris", "3.5 cm", "$5", "Zürich", "don't know", "red/blue", "Ein Mann, der schläft."),
    *(
        "what?!",
        '"quoted" (and more)',
        "well-known, half-way",
        "▁ and ▁x and _",
        "Ġ and Ġx",
        "👩‍👩‍👧 and ❤️",
        "a\u0301b x\u0323\u0301",
    ),
    *(
        "two  blanks   three",
        " one before",
        "one after ",
        "tab\tand\nline\r\n",
        "no\u00a0break",
        "它是红色的。红",
        "สวัสดี ครับ",
    ),
    *("[SEP] [MASK]x [PAD][CLS] [UNK]", "<|endoftext|> </s> <image>", "", " ", "?"),
)


@pytest.mark.parametrize("kind", ["word", "bpe"])
@pytest.mark.parametrize("text", WRITTEN)
def test_what_was_encoded_is_decoded_letter_for_letter(kind, text):
    words = Vocabulary(train_tokenizer([*tiny.TEXTS, text], kind))
    (ids,) = words.encode([text])
    assert words.decode(ids) == normalize("NFC", text)
    assert not {words.pad, words.start, words.end, words.mask, words.unknown} & set(ids)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=20))
def test_bytes_say_every_text(text):
    text = text.encode("utf-8", "ignore").decode()
    assert BYTES.decode(BYTES.encode([text])[0]) == normalize("NFC", text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*"ab.-▁Ġ'é红 \t", "[SEP]"]), max_size=8).map("".join))
def test_words_say_every_text_of_known_pieces(text):
    words = Vocabulary(train_tokenizer([text]))
    assert words.decode(words.encode([text])[0]) == normalize("NFC", text)


def test_blanks_that_no_training_text_has_are_read_as_one():
    words = Vocabulary(train_tokenizer(["a red circle"]))
    assert words.encode(["  a\t red\n circle "]) == words.encode(["a red circle"])
    vocabulary = Vocabulary(train_tokenizer(["a red circle", "a  red circle"]))
    assert vocabulary.encode(["a  red circle"]) != vocabulary.encode(["a red circle"])


def test_scripts_without_blanks_are_read_letter_by_letter():
    words = Vocabulary(train_tokenizer(["红色的圆", "绿色的方块"]))
    assert len(words.encode(["红色的方块"])[0]) == 5
    assert words.decode(words.encode(["红色的方块"])[0]) == "红色的方块"


def test_pairs_that_occur_once_are_not_merged():
    words = Vocabulary(train_tokenizer(["红色的圆", "绿色的方块"], "bpe"))
    assert len(words.encode(["红色的圆"])[0]) > 4


def test_a_saved_tokeniser_keeps_control_words_text():
    words = Vocabulary(Vocabulary(train_tokenizer(tiny.TEXTS, "bpe")).tokenizer.to_str())
    (ids,) = words.encode(["it is red [SEP] and [MASK] else"])
    assert words.decode(ids) == "it is red [SEP] and [MASK] else"
    assert not set(ids) & {words.end, words.mask}
    pickled = pickle.loads(pickle.dumps(words))
    assert pickled.encode(["[SEP]"]) == words.encode(["[SEP]"]) != [[words.end]]


@pytest.mark.parametrize(
    "model",
    [
        models.WordLevel({"</s>": 0, "<unk>": 1, "a": 2}, unk_token="<unk>"),
        models.Unigram([("</s>", 0.0), ("<unk>", 0.0), ("a", -1.0)], unk_id=1),
    ],
)
def test_a_pretrained_tokeniser_builds_no_control_token(model):
    theirs = Tokenizer(model)
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    theirs.add_special_tokens(["</s>", "<unk>"])
    words = Vocabulary(theirs.to_str(), specials=("</s>", "</s>", "</s>", "</s>", "<unk>"))
    assert words.encode(["a </s> a"]) == [[2, 1, 2]]


def test_a_hidden_word_is_named_by_the_mask(vocabulary):
    (ids,) = vocabulary.encode_blanked(["a [MASK] circle ?"])
    (whole,) = vocabulary.encode(["a red circle ?"])
    assert ids == [whole[0], vocabulary.mask, *whole[2:]]
    assert vocabulary.encode_blanked(["[MASK]", "a red circle ?"]) == [[vocabulary.mask], whole]


def test_words_are_covered_if_another_part_has_them():
    texts = ["a red circle", "a blue circle", "a red square", "one xylophone"]
    assert coverage(train_tokenizer(texts), texts) == 7 / 11  # a, red and circle stand in two texts
    assert coverage(train_tokenizer(texts * 3), texts * 3) == 1.0
    assert coverage(train_tokenizer([""]), [""]) == 1.0


def test_byte_pairs_know_every_word():
    words = Vocabulary(train_tokenizer(tiny.TEXTS, "bpe"))
    (ids,) = words.encode(["Xylophone ☃"])
    assert words.unknown not in ids
    assert words.decode(ids) == "Xylophone ☃"


def test_composed_and_decomposed_letters_are_the_same_word():
    words = Vocabulary(train_tokenizer(["café"]))
    assert words.encode(["cafe\u0301"]) == words.encode(["café"]) != [[words.unknown]]


def test_the_tokeniser_keeps_the_most_frequent_words():
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
        assert train_tokenizer(tiny.TEXTS, kind) == train_tokenizer(iter(tiny.TEXTS), kind)


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


def test_a_pattern_without_end_is_one_sentence():
    """The library ends the search after ten million steps by a panic, which is no ``Exception``."""
    tokenizer = Tokenizer.from_str(BYTES.tokenizer.to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    theirs = Vocabulary(tokenizer.to_str())
    for encode in (lambda text: theirs.encode([text, "a"]), theirs.encode_markup):
        with pytest.raises(InputError, match="the tokeniser cannot encode a text .*retry-limit"):
            encode("a" * 28 + "!")
