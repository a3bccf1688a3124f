"""Shows where a model looked, on an image that keeps its colours, with a scale that does not stretch noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from velm_lightning.inspection.explain import Maps

LEAST_EVIDENCE = 1e-3
"""Log-odds in favour of an answer from which there is evidence: a tenth of a percent of the odds.

Evidence is a first-order estimate. Layers that normalise make it small, because a scale that they remove has no
gradient: trained models have values down to about this one, and those of different fusions are not comparable."""

LEAST_EXCESS = 0.25
"""Attention to a cell above even attention, in units of it, from which it is shown; the scale ends at 1 or above."""

SURE = 1e-4
"""Smallest probability of all other answers that evidence is divided by."""

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class Heat(NamedTuple):
    """A map as it is shown.

    Attributes:
        strength: (h, w) from 0, faded, to 1, in full colour; None if the map shows nothing.
        caption: what the ends of the scale are, or that there is nothing.
    """

    strength: Tensor | None
    caption: str


def in_log_odds(maps: Maps, confidence: float) -> Maps:
    """Return maps with the evidence in log-odds of the answer instead of its log-probability.

    The log-probability of a sure answer changes little with any input: its gradient is that of the log-odds times the
    probability of all other answers.

    Args:
        maps: the maps of one sample, computed in a batch of its own.
        confidence: the probability of the answer; NaN if it is unknown.
    """
    if maps.evidence is None or not 0 <= confidence <= 1:
        return maps
    return maps._replace(evidence=maps.evidence / max(1 - confidence, SURE))


def heat_of(maps: Maps) -> Heat:
    """Return the evidence of a sample as it is shown, or its attention if the answer has no gradient."""
    if maps.evidence is not None:
        return evidence_heat(maps.evidence[0])
    return Heat(None, "no evidence") if maps.attention is None else attention_heat(maps.attention[0])


def evidence_heat(evidence: Tensor) -> Heat:
    """Return evidence (h, w) as it is shown, from 0 to its maximum, so that even evidence fades nothing.

    It has no strength if all cells together have less than ``LEAST_EVIDENCE``.
    """
    if not float(evidence.sum()) >= LEAST_EVIDENCE:  # NaN, too
        return Heat(None, "no evidence")
    top = float(evidence.max())
    return Heat(evidence / top, f"evidence: faded 0, clear {top:.2g}")


def attention_heat(attention: Tensor) -> Heat:
    """Return attention (h, w) as it is shown: what a cell gets in excess of even attention."""
    excess = (attention / attention.mean() - 1).clamp(min=0)
    top = float(excess.max())
    if not top >= LEAST_EXCESS:
        return Heat(None, "even attention")
    return Heat(excess / max(top, 1.0), f"attention: faded 1x even, clear {1 + top:.2g}x")


def overlay(image: Tensor, heat: Heat) -> Pixels:
    """Return an image (3, H, W) uint8 as (H, W, 3), faded to grey where its heat is low; whole if it has no heat."""
    pixels = image.float()
    if heat.strength is not None:
        size = list(image.shape[-2:])
        cells = heat.strength[None, None].float().cpu()
        strength = torch.nn.functional.interpolate(cells, size=size, mode="bilinear", align_corners=False)[0, 0]
        faded = 0.8 * (1 - strength.clamp(0, 1))
        pixels = pixels * (1 - faded) + 128 * faded
    overlaid: Pixels = pixels.permute(1, 2, 0).clamp(0, 255).byte().cpu().numpy()
    return overlaid


def map_record(maps: Maps) -> dict[str, list[list[float]]]:
    """Return the maps of one sample as lists of rows, with four significant digits."""
    named = {"evidence": maps.evidence, "attention": maps.attention}
    return {name: _digits(values[0]) for name, values in named.items() if values is not None}


def _digits(values: Tensor) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in values.float().tolist()]
