"""Describes the answers of the methods: calibration, scores by reference answer, confusion, sentences, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from velm_lightning.compare.reading import Scores
from velm_lightning.compare.result import Result
from velm_lightning.compare.samples.answers import Answers, answers
from velm_lightning.compare.samples.calibration import Calibration, calibration
from velm_lightning.compare.samples.ranks import Ranks, ranks
from velm_lightning.compare.samples.repetition import Sentences, sentences

MOST = 12
"""Maximum number of methods that are described."""


class Details(NamedTuple):
    """The answers of the best methods on one data set, by the name of the method; empty if it has none of the kind."""

    calibration: dict[str, Calibration] = {}  # noqa: RUF012 - a default of a NamedTuple, which nothing changes
    answers: dict[str, Answers] = {}  # noqa: RUF012
    sentences: dict[str, Sentences] = {}  # noqa: RUF012
    ranks: dict[str, dict[str, Ranks]] = {}  # noqa: RUF012


def details(results: Sequence[Result], scores: Mapping[int, Scores]) -> Details:
    """Describe the answers of the best methods on one data set."""
    same = [result.method for result in results[:MOST]]
    runs = {method.name: [scores[id(run)] for run in method.runs] for method in same}
    ranked = {name: by_group for name, of_method in runs.items() if (by_group := ranks(of_method))}
    worded = {name: of_method for name, of_method in runs.items() if name not in ranked}
    return Details(
        {name: calibrated for name, of_method in runs.items() if (calibrated := calibration(of_method))},
        {name: counted for name, of_method in worded.items() if (counted := answers(of_method))},
        {name: spoken for name, of_method in worded.items() if (spoken := sentences(of_method))},
        ranked,
    )
