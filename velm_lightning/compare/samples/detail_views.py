"""Tables and plots of single answers: calibration, scores by reference answer, confusion, sentences, ranks."""

from __future__ import annotations

from collections.abc import Mapping

from velm_lightning.compare.panel import Figure, Panel, layout_of, safe
from velm_lightning.compare.samples.answers import OTHER
from velm_lightning.compare.samples.details import Details
from velm_lightning.compare.samples.ranks import KS
from velm_lightning.compare.views.sheet import Sheet


def detail_sheets(details: Details) -> list[Sheet]:
    """Return the tables of single answers; a table without rows has no data."""
    return [_calibration(details), _answers(details), _sentences(details), _ranks(details)]


def detail_panels(details: Details, lines: Mapping[str, Figure]) -> list[Panel]:
    """Return the plots; a plot without variants has no data. ``lines`` are the lines of the methods by name."""
    return [reliability(details, lines), confusion(details), recall_curves(details, lines)]


def _calibration(details: Details) -> Sheet:
    head = ["method", "mean confidence", "mean score", "calibration error"]
    rows = [
        [name, f"{of.confidence:.4f}", f"{of.score:.4f}", f"{of.error:.4f}"] for name, of in details.calibration.items()
    ]
    caption = "Expected calibration error with 10 bins (Guo et al. 2017), means over seeds, without intervals."
    return Sheet("calibration error", head, rows, 1, caption)


def _answers(details: Details) -> Sheet:
    if not details.answers or details.sentences:
        return Sheet("", [], [])
    first = next(iter(details.answers.values()))
    rows = [
        [text, str(count), *(f"{of.scores[text]:.4f}" if text in of.scores else "—" for of in details.answers.values())]
        for text, count in first.support.items()
    ]
    caption = "Mean score of the samples with this first reference, over seeds, without intervals."
    return Sheet("score by reference answer", ["answer", "samples", *details.answers], rows, 1, caption)


def _sentences(details: Details) -> Sheet:
    head = ["method", "words", "of references", "distinct", "most repeated", "missed most often"]
    rows = [
        [
            name,
            f"{of.words:.1f}",
            f"{of.reference_words:.1f}",
            f"{of.distinct:.1%}",
            "; ".join(f"{text} ({share:.1%})" for text, share in of.repeated),
            "; ".join(f"{text} ({count} of {expected})" for text, expected, count in of.missed),
        ]
        for name, of in details.sentences.items()
    ]
    caption = "`missed` are phrases that most references of a sample have and the prediction lacks. Without intervals."
    return Sheet("sentences", head, rows, 1, caption)


def _ranks(details: Details) -> Sheet:
    head = ["method", "queries", "number", *(f"R@{k}" for k in KS), "median rank"]
    rows = [
        [name, group or "all", f"{of.queries:,}", *(f"{of.at(k):.4f}" for k in KS), f"{of.median:g}"]
        for name, groups in details.ranks.items()
        for group, of in groups.items()
    ]
    caption = "R@k: share of the queries whose rank is at most k, over all seeds, without intervals."
    return Sheet("ranks", head, rows, 2, caption)


def recall_curves(details: Details, lines: Mapping[str, Figure]) -> Panel:
    """Return the distribution of ranks: for each group of queries, the share that is found by each rank."""
    variants: dict[str, Figure] = {}
    for group in dict.fromkeys(group for groups in details.ranks.values() for group in groups):
        traces = [
            {
                "type": "scatter", "mode": "lines+markers", "name": safe(name),
                "line": lines[name],
                "x": list(groups[group].recall), "y": list(groups[group].recall.values()),
                "hovertemplate": "rank %{x} or better: %{y:.3f}",
            }
            for name, groups in details.ranks.items()
            if group in groups
        ]  # fmt: skip
        layout = layout_of("k", "recall at k", height=420, showlegend=True)
        layout["xaxis"] |= {"type": "log", "tickvals": [1, 2, 5, 10, 20, 50, 100, 1000, 10_000]}
        layout["yaxis"]["range"] = [0, 1.03]
        variants[group or "all"] = {"data": traces, "layout": layout}
    caption = "Share of the queries whose rank is at most k, over all seeds, without intervals."
    return Panel("Ranks", caption, variants)


def reliability(details: Details, lines: Mapping[str, Figure]) -> Panel:
    """Return the reliability curves: mean score by confidence."""
    traces: list[Figure] = [
        {
            "type": "scatter", "mode": "lines+markers", "name": safe(name), "line": lines[name],
            "x": [confidence for confidence, _, _ in of.bins], "y": [score for _, score, _ in of.bins],
            "text": [f"{count} samples" for _, _, count in of.bins],
            "hovertemplate": "confidence %{x:.3f}, score %{y:.3f}, %{text}",
        }
        for name, of in details.calibration.items()
    ]  # fmt: skip
    line = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "showlegend": False, "hoverinfo": "skip"}
    layout = layout_of("confidence", "mean score", height=420)
    caption = "A calibrated method lies on the dotted line. Means over all seeds by bins, without intervals."
    figure = {"data": [line | {"line": {"dash": "dot", "color": "#999"}}, *traces], "layout": layout}
    return Panel("Reliability", caption, {"calibration": figure} if traces else {})


def confusion(details: Details) -> Panel:
    """Return the confusion matrix of each method, over the most frequent reference answers."""
    variants = {}
    for name, of in details.answers.items() if not details.sentences else ():
        labels = [safe(text) for text in of.support]
        heat = {
            "type": "heatmap", "z": of.confusion[::-1], "x": [*labels, OTHER], "y": labels[::-1],
            "colorscale": [[0, "#f3f6fb"], [1, "#3d6bb3"]], "zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1,
        }  # fmt: skip
        layout = layout_of("answer", "reference", height=160 + 26 * len(labels))
        variants[name] = {"data": [heat], "layout": layout}
    caption = "Share of each answer among the samples with a reference, over seeds, without intervals."
    return Panel("Confusion", caption, variants)
