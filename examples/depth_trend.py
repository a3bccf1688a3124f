"""Prints how the score changes per layer by which image and text meet later, within the trunk.

    python examples/depth_trend.py runs/meeting_depth --layers 6

For each kind of fusion a line is fitted to the scores of each seed; the interval is Student's, over seeds. Depths at
which a seed is missing are left out. Two kinds are compared seed by seed.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import t

Scores = dict[float, dict[int, float]]
"""Scores by depth and seed."""


def scores_of(folder: Path) -> dict[str, Scores]:
    """Return the test scores of finished runs by kind of fusion, for depths inside the trunk."""
    kinds: dict[str, Scores] = defaultdict(lambda: defaultdict(dict))
    for file in sorted(folder.glob("*/run.json")):
        run = json.loads(file.read_text("utf-8"))
        meeting = run.get("meeting") or {}
        if run.get("status") == "finished" and 0 <= meeting.get("depth", -1) < 1:
            kinds[meeting["kind"]][meeting["depth"]][run["seed"]] = run["scores"]["test"]["score"]
    return kinds


def slopes(scores: Scores, layers: int) -> np.ndarray:
    """Return the slope of each seed in points per layer, over the depths that all seeds have."""
    seeds = sorted(set.union(*(set(runs) for runs in scores.values())))
    depths = sorted(depth for depth, runs in scores.items() if set(runs) == set(seeds))
    rows = [[100 * scores[depth][seed] for depth in depths] for seed in seeds]
    return np.polyfit(np.array(depths) * layers, np.array(rows).T, 1)[0]


def interval(values: np.ndarray) -> str:
    """Return mean and half width of the 95 % interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.1f} ± {half:.1f} points per layer ({len(values)} seeds)"


def main() -> None:
    """Read the command line and print one line per kind and per pair of kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=6, help="layers of the trunk, by default 6")
    options = parser.parse_args()
    found = {
        kind: slopes(scores, options.layers) for kind, scores in scores_of(options.folder).items() if len(scores) > 1
    }
    for kind, values in found.items():
        print(f"{kind}: {interval(values)}")
    for (first, a), (second, b) in combinations(found.items(), 2):
        print(f"{first} minus {second}: {interval(a - b)}")


if __name__ == "__main__":
    main()
