"""Signatures, fingerprints, and the diversity of captions."""

import pytest

from velm_lightning.metrics.captions import NAMES
from velm_lightning.metrics.sanity import Diversity, diversity
from velm_lightning.metrics.signature import FIELDS, signature_of, split_fingerprint
from velm_lightning.types import InputError

SAMPLES = [("1", ["yes", "no"]), ("2", ["two"])]


def test_a_signature_names_scorer_tokeniser_protocol_and_split():
    line = signature_of("VQA accuracy", split="val:1f2e3d4c", protocol="official")
    assert line.startswith("VQA accuracy|scorer:vqaEval|protocol:official|split:val:1f2e3d4c|velm:")
    assert "|tok:ptb-3.4.1|" in signature_of("CIDEr-D", split="test")


def test_every_figure_of_captions_has_one():
    assert set(NAMES) <= set(FIELDS)


@pytest.mark.parametrize("figure", ["METEOR-approx(exact+stem)", "R@5", "median rank"])
def test_a_figure_of_a_known_kind_has_one(figure):
    assert signature_of(figure, split="test").startswith(f"{figure}|scorer:")


def test_different_figures_have_different_signatures():
    lines = [
        signature_of("VQA accuracy", split=split, protocol=protocol)
        for split in ("val:a", "val:b")
        for protocol in ("official", "pre-2021", "always")
    ]
    assert len(set(lines)) == 6


def test_unknown_figures_and_separators_are_refused():
    with pytest.raises(InputError, match="figure: 'SPICE' is not one of"):
        signature_of("SPICE", split="test")
    with pytest.raises(InputError, match="split: 'a|b' contains"):
        signature_of("BLEU-4", split="a|b")
    assert signature_of("SPICE", split="test", scorer="jar").startswith("SPICE|scorer:jar|split:test|")


def test_a_fingerprint_ignores_the_order_of_samples():
    assert split_fingerprint(SAMPLES) == split_fingerprint(reversed(SAMPLES))
    others = [SAMPLES[:1], [("1", ["yes"]), ("2", ["two"])], [("3", ["yes", "no"]), ("2", ["two"])]]
    assert len({split_fingerprint(samples) for samples in (SAMPLES, *others)}) == 4


def test_diversity_of_three_captions():
    training = ["A dog runs!", "a cat sleeps"]
    assert diversity(["a dog runs .", "A dog runs", "a cat"], training) == Diversity(
        vocabulary=4, distinct_1=4 / 8, distinct_2=3 / 5, different=2 / 3, seen=2 / 3, mean_length=8 / 3, empty=0
    )


def test_empty_captions_are_described_and_none_are_refused():
    silent = diversity(["", " ."])
    assert (silent.vocabulary, silent.mean_length, silent.empty, silent.seen) == (0, 0, 1, None)
    with pytest.raises(InputError, match="no captions to describe"):
        diversity([])
