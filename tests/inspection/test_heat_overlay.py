"""Overlays keep the image's colours where a model looked, and show nothing rather than stretched noise."""

import math

import numpy as np
import pytest
import torch

from velm_lightning.inspection.explain import Maps
from velm_lightning.inspection.heat_overlay import (
    Heat,
    attention_heat,
    evidence_heat,
    heat_of,
    in_log_odds,
    map_record,
    overlay,
)

RED = torch.tensor([250, 10, 10], dtype=torch.uint8)[:, None, None].expand(3, 8, 8)


def one_cell(value):
    cells = torch.zeros(4, 4)
    cells[0, 0] = value
    return cells


def test_the_colours_stay_where_the_model_looked_and_fade_elsewhere():
    pixels = overlay(RED, evidence_heat(one_cell(2.0))).astype(int)
    assert pixels[0, 0].tolist() == [250, 10, 10]
    assert np.abs(pixels[7, 7] - 128).max() < 30


@pytest.mark.parametrize("cells", [torch.zeros(4, 4), one_cell(0.0005), torch.full((4, 4), math.nan)])
def test_little_evidence_is_no_evidence_and_fades_nothing(cells):
    heat = evidence_heat(cells)
    assert heat == Heat(None, "no evidence")
    assert (overlay(RED, heat) == RED.permute(1, 2, 0).numpy()).all()


def test_even_evidence_fades_nothing():
    """The scale begins at 0 and not at the smallest value, which would stretch small differences."""
    heat = evidence_heat(torch.full((4, 4), 0.5) + one_cell(0.05))
    assert float(heat.strength.min()) > 0.9


def test_nearly_even_attention_is_not_stretched():
    even = torch.full((4, 4), 1 / 16)
    assert attention_heat(even).strength is None
    assert attention_heat(even + one_cell(0.25 / 16)).strength is None
    slight, strong = attention_heat(even + one_cell(0.5 / 16)), attention_heat(even + one_cell(3.0))
    assert float(slight.strength.max()) < 0.6
    assert float(strong.strength.max()) == pytest.approx(1)


def test_captions_state_both_ends_of_the_scale():
    assert evidence_heat(one_cell(2.0)).caption == "evidence: faded 0, clear 2"
    assert attention_heat(one_cell(1.0)).caption == "attention: faded 1x even, clear 16x"


def test_an_answer_without_gradient_shows_attention_or_nothing():
    attention = one_cell(1.0)[None]
    assert heat_of(Maps(attention, None)).caption.startswith("attention")
    assert heat_of(Maps(attention, attention)).caption.startswith("evidence")
    assert heat_of(Maps(None, None)) == Heat(None, "no evidence")


def test_evidence_of_a_sure_answer_is_that_of_its_log_odds():
    """Of softmax(z) the log-probability has the gradient 1 - p, the log-odds has 1."""
    z = torch.tensor([4.0, 0.0, 0.0], requires_grad=True)
    logs = z.log_softmax(0)
    (gradient,) = torch.autograd.grad(logs[0], z)
    maps = in_log_odds(Maps(None, gradient[:1][None, None]), float(logs[0].detach().exp()))
    assert float(maps.evidence) == pytest.approx(1.0, rel=1e-5)
    assert in_log_odds(maps, math.nan) is maps


def test_stored_maps_have_four_digits():
    assert map_record(Maps(None, torch.tensor([[[1 / 3, 0.0]]]))) == {"evidence": [[0.3333, 0.0]]}
