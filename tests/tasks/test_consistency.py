"""Consistency: the share of statements that are judged correctly for every image, as in the official scripts."""

import math

import pytest

from velm_lightning.io.configurable import build, to_config
from velm_lightning.tasks import Classification
from velm_lightning.tasks.consistency import Consistency
from velm_lightning.types import InputError, Prediction


def rows(**right):
    """Rows with these keys, in which ``_`` is written for ``-``, and the score 1 or 0."""
    return [
        Prediction(key.replace("_", "-"), "", "it is so", "true", ("true" if good else "false",), math.nan, 0.5, 0.1)
        for key, good in right.items()
    ]


def figures(table, **arguments):
    task = Classification(extra=[Consistency(**arguments)])
    return task.compute_metrics(task.score(table))


def test_a_statement_of_nlvr2_is_a_set_and_a_sentence():
    metrics = figures(
        rows(dev_1_0_0=True, dev_1_1_0=True, dev_1_0_1=True, dev_1_1_1=False, dev_2_0_0=True, dev_2_3_0=True)
    )
    assert metrics["consistency"] == pytest.approx(2 / 3), "of 1-0, 1-1 and 2-0, the second has a wrong pair"
    assert metrics["score"] == pytest.approx(5 / 6)


def test_a_statement_of_nlvr_is_its_presentation():
    keys = {f"k7_{picture}_{order}": (picture, order) != (3, 5) for picture in range(4) for order in range(6)}
    table = rows(**keys) + rows(k8_0_0=True, k8_0_1=True)
    assert figures(table, parts=[0])["consistency"] == 0.5


def test_samples_without_references_are_in_no_statement():
    table = rows(dev_1_0_0=True, dev_1_1_0=False)
    table[1] = table[1]._replace(references=())
    assert figures(table)["consistency"] == 1.0


def test_a_task_is_rebuilt_with_its_extra_figures():
    task = build(to_config(Classification(extra=[Consistency(parts=[0])])))
    assert task.compute_metrics(task.score(rows(k1_0=True)))["consistency"] == 1.0


def test_keys_with_too_few_parts_are_refused():
    with pytest.raises(InputError, match=r"key 'a-b' has 2 parts at '-', and parts=\[0, 1, 3\] names a later one"):
        figures(rows(a_b=True))
    with pytest.raises(InputError, match="must name parts of keys"):
        Consistency(parts=[])
