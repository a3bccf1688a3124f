"""Groups the samples of data without groups: by the type of the answer, the first word of the prompt, or length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from velm_lightning.compare.reading import Scores

SMALLEST, SHARE = 20, 0.05
"""A group has at least this number and this share of the samples; smaller ones are joined as ``other``."""

OTHER = "other"


def found_groups(scores: Scores) -> tuple[str, tuple[str, ...]]:
    """Return how the samples are grouped, and the group of each; empty if no division gives two groups.

    Example:
        >>> import numpy as np
        >>> answers = tuple((text,) for text in ["yes"] * 30 + ["3"] * 30)
        >>> nothing, numbers = ("",) * 60, np.zeros(60)
        >>> scores = Scores(nothing, nothing, nothing, numbers, numbers, nothing, answers, nothing, numbers)
        >>> how, groups = found_groups(scores)
        >>> how, sorted(set(groups))
        ('the type of the answer', ['number', 'yes/no'])
    """
    for how, divide in _DIVISIONS.items():
        groups = _joined(divide(scores))
        if len(set(groups)) > 1:
            return how, tuple(groups)
    return "", ("",) * len(scores.keys)


def _joined(groups: Sequence[str]) -> list[str]:
    """Return the groups with the small ones joined."""
    sizes = Counter(groups)
    least = max(SMALLEST, SHARE * len(groups))
    joined = [group if sizes[group] >= least else OTHER for group in groups]
    return joined if Counter(joined)[OTHER] in (0, *range(SMALLEST, len(groups))) else [""] * len(groups)


def _types(scores: Scores) -> list[str]:
    return [_type_of(references[0].lower()) if references else OTHER for references in scores.references]


def _type_of(answer: str) -> str:
    if answer in ("yes", "no"):
        return "yes/no"
    return "number" if re.fullmatch(r"[-+]?\d+([.,]\d+)*", answer) else OTHER


def _first_words(scores: Scores) -> list[str]:
    return [next(iter(re.findall(r"\w+", prompt.lower())), OTHER) for prompt in scores.prompts]


def _lengths(scores: Scores) -> list[str]:
    """Return thirds by the number of words of the first reference, for sentences."""
    words = [len(references[0].split()) if references else 0 for references in scores.references]
    ordered = sorted(words)
    if not ordered or ordered[len(ordered) // 2] < 4:
        return [""] * len(words)
    low, high = ordered[len(ordered) // 3], ordered[2 * len(ordered) // 3]
    middle = f"{low + 1} to {high} words" if low + 1 < high else f"{high} words"
    names = f"up to {low} words", middle, f"more than {high} words"
    return [names[0] if count <= low else names[1] if count <= high else names[2] for count in words]


_DIVISIONS: dict[str, Callable[[Scores], list[str]]] = {
    "the type of the answer": _types,
    "the first word of the prompt": _first_words,
    "the length of the reference": _lengths,
}
