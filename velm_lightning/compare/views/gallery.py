"""The samples with stored images: one card per image, with the predictions and maps of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.reading import RunFolder

MOST_METHODS = 12
"""Maximum number of methods in the gallery."""

Card = dict[str, Any]


def gallery(comparison: Comparison) -> dict[str, Any] | None:
    """Return the cards with the predictions of the first seed of each method; None if no run has stored images."""
    data = comparison.results[0].method.data
    chosen = [result for result in comparison.results if result.method.data == data][:MOST_METHODS]
    runs = [result.method.runs[0] for result in chosen]
    names = [f"{result.method.name} (seed {run.seed})" for result, run in zip(chosen, runs, strict=True)]
    return cards_of(names, runs, comparison.split)


def cards_of(names: Sequence[str], runs: Sequence[RunFolder], split: str) -> dict[str, Any] | None:
    """Return the cards with the predictions of runs on the same data, by their names; None without stored images."""
    pictures = next(filter(None, (run.thumbnails(split) for run in runs)), None)
    if not pictures:
        return None
    cards = _cards(runs, split, pictures)
    predictions = [prediction for card in cards for sample in card["samples"] for prediction in sample["predictions"]]
    scores = [score for _, score, _ in predictions if score is not None]
    graded = max(scores, default=0.0) > 1
    return {
        "methods": list(names),
        "pictures": {card["image"]: pictures[card["image"]] for card in cards},
        "cards": cards,
        "right": median(scores) if graded else 0.5,
        "words": ["above the median", "below it"] if graded else ["right", "wrong"],
    }


def _cards(runs: Sequence[RunFolder], split: str, pictures: Mapping[str, str]) -> list[Card]:
    """Return the images with their samples; a sample that a run lacks is left out. Samples with maps are first."""
    samples: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in run.rows(split):
            if (row.get("image") or "") in pictures:
                shared = {name: row.get(name) or "" for name in ("prompt", "group", "image")}
                shared["references"] = list(row.get("references") or ())
                predictions = samples.setdefault(row["key"], shared | {"predictions": []})["predictions"]
                predictions.append([row.get("prediction", ""), row["score"], row.get("confidence")])
    maps = [run.maps(split) for run in runs]
    cards: dict[str, Card] = {}
    for key, sample in samples.items():
        if len(sample["predictions"]) == len(runs):
            of_sample = [of_run.get(key) for of_run in maps]
            sample["maps"] = of_sample if any(of_sample) else None
            image = sample.pop("image")
            cards.setdefault(image, {"image": image, "samples": []})["samples"].append(sample)
    for card in cards.values():
        card["samples"].sort(key=lambda sample: sample["maps"] is None)
    return list(cards.values())
