"""What a benchmark measures must be the same on both sides, and its command must run."""

import argparse
import importlib.util

import pytest

from velm_lightning.bench import scoring
from velm_lightning.metrics import score_captions


def test_drawn_captions_are_like_captions():
    found = scoring.drawn(300)
    assert {len(captions) for captions in found.values()} == {6}
    lengths = [len(caption.split()) for captions in found.values() for caption in captions]
    assert 10 < sum(lengths) / len(lengths) < 11
    said = {key: captions[0] for key, captions in found.items()}
    scores = score_captions(said, {key: captions[1:] for key, captions in found.items()})
    assert 0.3 < scores["BLEU-1"].corpus < 0.9
    assert scoring.drawn(300) == found


def test_scoring_is_timed_for_every_size(capsys):
    parser = argparse.ArgumentParser()
    scoring.arguments(parser)
    scoring.run(parser.parse_args(["--images", "40", "20", "--turns", "1"]))
    out = capsys.readouterr().out
    assert out.index(" 20 ") < out.index(" 40 ")
    assert "200" in out


@pytest.mark.skipif(importlib.util.find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed")
def test_pycocoevalcap_finds_the_same_figures():
    found = scoring.drawn(20)
    said, references = ({key: captions[part] for key, captions in found.items()} for part in (0, slice(1, None)))
    ours = {name: score.corpus for name, score in score_captions(said, references).items()}
    assert scoring.theirs(said, references) == pytest.approx(ours, abs=1e-9)
