"""Recall at k and ranks, against similarities small enough to read."""

import numpy as np
import pytest

from velm_lightning.metrics.retrieval import best_ranks, recall_at, recall_of_folds, relevance
from velm_lightning.types import InputError

SIMILARITY = np.array([[0.9, 0.1, 0.5, 0.2], [0.3, 0.2, 0.8, 0.1], [0.1, 0.7, 0.6, 0.5]])
IMAGES = ["dog", "cat", "cow"]
CAPTIONS = ["dog", "cat", "cat", "cow"]


def test_the_best_of_several_relevant_captions_counts():
    relevant = relevance(IMAGES, CAPTIONS)
    assert relevant.tolist() == [[True, False, False, False], [False, True, True, False], [False, False, False, True]]
    assert best_ranks(SIMILARITY, relevant).tolist() == [0, 0, 2]


def test_captions_rank_images_by_the_transpose():
    assert best_ranks(SIMILARITY.T, relevance(CAPTIONS, IMAGES)).tolist() == [0, 1, 0, 0]


def test_chunks_of_queries_give_the_same_ranks():
    relevant = relevance(IMAGES, CAPTIONS)
    chunks = [best_ranks(SIMILARITY[at : at + 1], relevant[at : at + 1]) for at in range(3)]
    assert np.concatenate(chunks).tolist() == best_ranks(SIMILARITY, relevant).tolist()


def test_ties_count_against_the_model():
    assert best_ranks(np.zeros((2, 4)), np.eye(2, 4)).tolist() == [3, 3]


def test_recall_and_median_rank():
    assert recall_at([0, 0, 2, 7], ks=(1, 3, 10)) == {"R@1": 0.5, "R@3": 0.75, "R@10": 1.0, "median rank": 2.0}


def test_folds_are_averaged():
    assert recall_of_folds([[0, 0], [0, 4]], ks=(1,)) == {"R@1": 0.75, "median rank": 2.0}


@pytest.mark.parametrize(
    ("similarity", "relevant", "message"),
    [
        ([[1.0, 2.0]], [[True]], "expected the same"),
        ([[1.0, float("nan")]], [[True, False]], "not a number for query 0"),
        ([[1.0, 2.0], [1.0, 2.0]], [[True, False], [False, False]], "query 1 has no relevant item"),
    ],
)
def test_invalid_similarities_are_refused(similarity, relevant, message):
    with pytest.raises(InputError, match=message):
        best_ranks(similarity, relevant)


def test_no_queries_and_no_k_are_refused():
    with pytest.raises(InputError, match="the split is empty"):
        recall_at([])
    with pytest.raises(InputError, match="0 is below 1"):
        recall_at([1], ks=(0, 5))
    with pytest.raises(InputError, match="no folds"):
        recall_of_folds([])
