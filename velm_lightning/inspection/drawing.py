"""Draws the maps of one sample as a figure."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from velm_lightning.inspection.explain import Maps
from velm_lightning.inspection.fonts import drawing, families
from velm_lightning.inspection.heat_overlay import attention_heat, evidence_heat, overlay


def draw(path: Path, image: Tensor, title: str, maps: Maps) -> None:
    """Write a figure of one sample with the input image, its attention and its evidence.

    Args:
        path: a ``.png``, ``.pdf`` or ``.svg`` file.
        image: (3, H, W) uint8, the input of the model.
        title: question and answer.
        maps: the maps of this sample.
    """
    heats = [
        make(heat[0])
        for make, heat in ((attention_heat, maps.attention), (evidence_heat, maps.evidence))
        if heat is not None
    ]
    panels = [("input", image.permute(1, 2, 0).numpy()), *((heat.caption, overlay(image, heat)) for heat in heats)]
    figure = Figure(figsize=(3.2 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, wrap=True, parse_math=False, fontfamily=families(title))
    for place, (name, picture) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        axes.imshow(picture)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    with drawing():
        figure.savefig(path, dpi=150)
