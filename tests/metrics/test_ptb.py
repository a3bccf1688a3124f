"""The Treebank tokeniser against the output of Stanford's jar, and its interface."""

import hashlib
import json

import pytest
from helpers.references import FIXTURES, flickr8k

from velm_lightning.metrics.ptb import ptb_tokenise, ptb_tokenise_all

JAR_LINES = json.loads((FIXTURES / "ptb_lines.json").read_text())
JAR_SHA256 = {  # of the jar's lines on each split of Flickr8k, punctuation removed, each with its line end
    "train": "bc0103ade1ade01f8941e2cf7413a9b1d7af5b18d349112039207e940c2a1242",
    "val": "cee9a5a29a43a752fcf592f8d1c12fdd1916cb2c129206bb8e5b9db468ddaa95",
    "test": "3b3f44895ad3dab9d1f93fef1041f28b9e3fff3da1d4241d4aa6ecaa31c620b2",
}


@pytest.mark.parametrize(("line", "tokens"), JAR_LINES)
def test_odd_lines_equal_the_jar(line, tokens):
    assert ptb_tokenise(line) == tokens


@pytest.mark.parametrize("split", JAR_SHA256)
def test_every_flickr8k_caption_equals_the_jar(split):
    lines = ptb_tokenise_all(flickr8k(split)[0])
    assert hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest() == JAR_SHA256[split]


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A dog can't swim .", "a dog ca n't swim"),
        ("I cannot", "i can not"),
        ("Really?!", "really ?!"),
        ("(a dog)", "-lrb- a dog -rrb-"),
        ("-LRB-", "-lrb-"),
        ("22 3/4 miles", "22\u00a03/4 miles"),
        ("in Wash. state, wash. it", "in wash. state wash it"),
        ("ho'ohu A&M 3pm :11 word.Word", "ho'ohu a&m 3pm :11 word.word"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_unexpected_results_equal_the_jar(caption, tokens):
    assert ptb_tokenise(caption) == tokens


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("say &QUOT;dog&QUOT; &Quot; &quot;", "say &quot; dog &quot; &quot;"),
        ("it&APOS;s isn&APOS;t &APOS; it&apos;s", "it &apos;s is n&apos;t &apos; it 's"),
        ("Cap&apos;n C&APOS;est O&Apos;O", "cap&apos;n c&apos;est o&apos;o"),
        ("S&AMP;Odog A&AMP;A` B&AMP;Cap", "s&o dog a&a b&c ap"),
    ],
)
def test_entities_in_capitals_equal_the_jar(caption, tokens):
    """Printed by the jar: its lexer finds them in any case, and replaces quotes only in lower case."""
    assert ptb_tokenise(caption) == tokens


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\u2028", "\u2029"])
def test_line_ends_inside_a_caption_count_as_a_blank(end):
    assert (
        ptb_tokenise(f"a dog{end}runs <b>{end} fast.{end}")
        == ptb_tokenise("a dog runs <b>  fast. ")
        == "a dog runs <b> fast"
    )


def test_a_chunk_depends_on_its_neighbour_only_if_necessary():
    assert ptb_tokenise_all(["1 1/2", "1", "1/2", "plan B. The", "plan B.", "plan B. the"]) == [
        "1\u00a01/2",
        "1",
        "1/2",
        "plan b the",
        "plan b.",
        "plan b. the",
    ]


@pytest.mark.parametrize("sign", ["&", "a'", "<a", "$1", "%", "&#1"])
def test_a_chunk_of_very_many_signs_takes_linear_time(sign):
    """It would otherwise be read from every place to its end, in hours."""
    assert len("".join(ptb_tokenise(sign * 10_000).split())) <= 10_000 * len(sign) * 2
