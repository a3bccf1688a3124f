"""The tokens of conversations: what is learned, which block each token has, and where the images stand."""

import pytest
from helpers import tiny

from velm_lightning.text import dialogue
from velm_lightning.text.dialogue import encode_conversations
from velm_lightning.text.vocabulary import SPECIALS, Vocabulary, train_tokenizer
from velm_lightning.types import InputError, Turn

TALK = (
    Turn("user", (None, "is there a circle ?")),
    Turn("assistant", ("blue stars",), learned=True),
    Turn("user", ("what colour",)),
    Turn("assistant", ("red",), learned=True),
)
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def chat_words(template=CHATML, **changes):
    """A vocabulary with byte-pair encoding and the marks of ChatML."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(train_tokenizer(tiny.TEXTS, "bpe"))
    tokenizer.normalizer = None
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    names = ("[PAD]", "<|im_start|>", "<|im_end|>", "[MASK]", "[UNK]")
    settings = {"add_eos": False, "max_length": 500, "chat_template": template}
    return Vocabulary(tokenizer.to_str(), specials=names, **settings, **changes)


def encode(turns, words=None):
    return encode_conversations([turns], words or tiny.vocabulary())[0]


def text_of(row, words, chosen=None):
    chosen = [True] * len(row.ids) if chosen is None else chosen
    return words.tokenizer.decode([i for i, yes in zip(row.ids, chosen, strict=True) if yes], skip_special_tokens=False)


def pieces(row, words):
    return [words.tokenizer.id_to_token(i).removeprefix("Ġ") for i in row.ids]


def test_without_a_template_every_turn_ends_with_the_end():
    row = encode(TALK)
    assert " ".join(pieces(row, tiny.vocabulary())) == (
        "[CLS] is there a circle ? [SEP] blue stars [SEP] what colour [SEP] red [SEP]"
    )


def test_one_question_has_the_tokens_of_an_ordinary_sample():
    sample = tiny.translations()[0]
    turns = (Turn("user", (sample.text,)), Turn("assistant", (sample.target,), learned=True))
    row, batch = encode(turns), tiny.batch([sample], tiny.vocabulary())
    assert (row.ids, row.block_ids) == (batch.ids[0].tolist(), batch.block_ids[0].tolist())
    assert row.learned == batch.target_mask[0].tolist()


def test_only_replies_and_their_ends_are_learned():
    row = encode(TALK)
    assert [word for word, yes in zip(pieces(row, tiny.vocabulary()), row.learned, strict=True) if yes] == [
        "blue", "stars", "[SEP]", "red", "[SEP]"
    ]  # fmt: skip
    history = (TALK[0], TALK[1]._replace(learned=False), *TALK[2:])
    assert sum(encode(history).learned) == 2


def test_blocks_rise_with_replies_whether_learned_or_not():
    assert encode(TALK).block_ids == [0] * 7 + [1, 2, 3] + [4] * 3 + [5, 6]
    history = (TALK[0], TALK[1]._replace(learned=False), *TALK[2:])
    assert encode(history).block_ids == encode(TALK).block_ids


def test_an_image_stands_at_its_mark_within_the_block_of_its_turn():
    turns = (Turn("user", ("is", None, "there", None)), *TALK[1:2], Turn("user", (None, "what", None)), *TALK[3:])
    row = encode(turns)
    assert [(pieces(row, tiny.vocabulary())[mark], row.block_ids[mark]) for mark in row.marks] == [
        ("there", 0), ("[SEP]", 0), ("what", 4), ("[SEP]", 4)
    ]  # fmt: skip


def test_a_conversation_without_a_reply_ends_where_it_begins():
    words = tiny.vocabulary()
    assert pieces(encode(TALK[:3], words), words) == pieces(encode(TALK, words), words)[:-2]
    chat = chat_words()
    assert text_of(encode(TALK[:3], chat), chat).endswith("<|im_start|>assistant\n")


def test_a_template_frames_the_turns_and_is_not_learned():
    words = chat_words()
    row = encode(TALK, words)
    assert text_of(row, words) == (
        "<|im_start|>user\nis there a circle ?<|im_end|>\n<|im_start|>assistant\nblue stars<|im_end|>\n"
        "<|im_start|>user\nwhat colour<|im_end|>\n<|im_start|>assistant\nred<|im_end|>"
    )
    assert text_of(row, words, row.learned) == "blue stars<|im_end|>red<|im_end|>"


def test_tokens_equal_those_of_the_whole_text():
    words = chat_words()
    row = encode(TALK, words)
    assert row.ids == words.encode_markup(text_of(row, words))


def test_a_template_without_an_end_gets_one():
    words = chat_words("{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}")
    row = encode(TALK, words)
    assert text_of(row, words, row.learned) == "blue stars<|im_end|>red<|im_end|>"


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|im_start|>", "[MASK]", "<image>", "\ue0000\ue001"])
def test_marks_within_a_text_stay_text(mark):
    words = chat_words()
    plain, marked = (
        encode((Turn("user", (text,)), Turn("assistant", (text,), learned=True)), words)
        for text in ("a star", f"a {mark} star")
    )
    special = {words.start, words.end, words.mask}
    assert [i for i in marked.ids if i in special] == [i for i in plain.ids if i in special]
    assert text_of(marked, words).count(mark) == 2 + text_of(plain, words).count(mark)
    assert marked.marks == []


def test_whole_turns_are_dropped_from_the_front():
    turns = (Turn("system", ("a",)), *TALK, Turn("user", (None, "how many")), Turn("assistant", ("yes",), learned=True))
    words = tiny.vocabulary(max_length=len(encode(turns).ids) - 1)
    row = encode(turns, words)
    assert (row.dropped, row.images_dropped, len(row.marks)) == (2, 1, 1)
    assert " ".join(pieces(row, words)) == "[CLS] a [SEP] what colour [SEP] red [SEP] how many [SEP] [UNK] [SEP]"
    last = encode(turns, tiny.vocabulary(max_length=2))
    assert (last.dropped, len(last.ids)) == (4, 8)  # no turn is cut: the caller refuses what is left


def test_a_template_is_rendered_once_per_sequence_of_roles(monkeypatch):
    calls = []
    words = chat_words(CHATML + " ")  # not yet known
    render = dialogue.render
    monkeypatch.setattr(dialogue, "render", lambda *given, **names: calls.append(given) or render(*given, **names))
    for text in ("a", "red", "circle"):
        encode((Turn("user", (text,)), Turn("assistant", (text,))), words)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content }}", "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"]
)
def test_a_template_that_loses_or_repeats_a_turn_is_refused(template):
    with pytest.raises(InputError, match="does not write every text once"):
        encode(TALK, chat_words(template))


def test_a_vocabulary_keeps_its_template_in_a_checkpoint():
    from velm_lightning.io.configurable import to_config

    assert to_config(chat_words())["init_args"]["chat_template"] == CHATML
    assert Vocabulary(train_tokenizer(tiny.TEXTS), specials=SPECIALS).chat_template is None
