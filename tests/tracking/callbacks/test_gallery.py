"""The sheet of predictions with their images."""

import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from velm_lightning.tracking.callbacks import gallery
from velm_lightning.tracking.callbacks.gallery import Gallery, GalleryEntry, draw_sheet
from velm_lightning.types import Prediction


def entry(prediction="a $5 {bill} on a_table \\frac", attended=True):
    picture = np.full((16, 24, 3), (250, 10, 10), np.uint8)
    heat = np.full((16, 24, 3), (10, 10, 250), np.uint8) if attended else None
    return GalleryEntry(
        picture, heat, Prediction("a", "", "what? " * 60, prediction, ("x",) * 5, float("nan"), 0.5, 0.1)
    )


def colours(sheet):
    image = Image.open(io.BytesIO(sheet))
    assert image.format == "PNG"
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    return [(abs(pixels - wanted).max(1) < 12).sum() for wanted in ((250, 10, 10), (10, 10, 250))]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_sheet_shows_every_image_and_heat_map(count):
    single, several = colours(draw_sheet([entry()])), colours(draw_sheet([entry()] * count))
    assert min(single) > 1000
    for pixels, total in zip(single, several, strict=True):
        assert total == pytest.approx(pixels * count, rel=0.15)


@pytest.mark.parametrize("text", ["[/b]", "$\\\\frac$", "$", "a $x_1$ ^ %", "一只狗在跑", "كلب يركض", "犬 🐕"])
def test_any_text_can_be_a_title(text):
    assert min(colours(draw_sheet([entry(prediction=text)]))) > 1000


def test_images_are_shown_without_maps():
    picture, heat = colours(draw_sheet([entry(prediction="", attended=False)]))
    assert picture > 1000
    assert heat == 0


def test_maps_end_after_a_limit_of_seconds_which_a_line_says(monkeypatch, capsys):
    """On a CPU, the evidence of a large model takes seconds per image."""
    clock = itertools.count(0, 12.0)
    monkeypatch.setattr(gallery.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(Gallery, "_maps", lambda self, model, place, rows: {place: "map"})
    view = SimpleNamespace(pictured=lambda places: places[0])
    assert list(Gallery(None)._all_maps(None, view, range(10, 20), {}, "test")) == [10, 11, 12]
    assert capsys.readouterr().out == ("the gallery of test has maps of evidence for 3 of 10 images, which took 36 s\n")
