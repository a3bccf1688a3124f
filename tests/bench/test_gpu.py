"""``velm bench gpu``: published peaks, hand formulas, the time limit, and the whole command on tiny models."""

import json

import pytest
import torch

from velm_lightning.bench.gpu.cases import Case, Table, run_cases, tabulate
from velm_lightning.bench.gpu.flops import training_flops
from velm_lightning.bench.gpu.models import models
from velm_lightning.bench.gpu.peaks import published_peak
from velm_lightning.bench.gpu.setting import Setting
from velm_lightning.bench.gpu.training import FUSIONS, training_step
from velm_lightning.inspection.cost import flops


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_a_card_has_its_own_published_peak(name, peak):
    assert published_peak(name) == pytest.approx(peak * 1e12)


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "Tesla T4", "NVIDIA A1000", ""])
def test_an_unknown_card_or_a_slice_has_no_published_peak(name):
    assert published_peak(name) is None


@pytest.mark.parametrize("kind", FUSIONS)
@pytest.mark.parametrize("pair", [models(small=True).plain, models(small=True).hugging_face], ids=["plain", "hf"])
def test_the_formula_gives_the_counted_flops(kind, pair):
    counted = flops(pair.build(kind), [pair.batch(2)]).training
    formula = training_flops(kind, pair.image_tower, pair.text_tower, pair.shapes)
    assert counted == pytest.approx(formula, rel=0.01)


def test_full_size_models_are_those_that_are_named():
    plain, other, _ = models(small=False)
    assert (plain.image_tower.dim, plain.image_tower.depth, plain.text_tower.depth) == (768, 12, 12)
    assert plain.shapes.patches == 196
    with torch.device("meta"):
        trunk = other.text()
    assert trunk.config.num_key_value_heads == 3
    assert trunk.config.intermediate_size == 1536


def test_cases_run_by_worth_and_end_with_the_time():
    order = []

    def case(name, worth, seconds=0.0, fault=None):
        def measure():
            order.append(name)
            if fault:
                raise fault
            return {"speed": 1.0}

        return Case("part", name, worth, seconds, measure)

    states = []
    cases = [case("b", 2), case("long", 1, 100.0), case("broken", 3, fault=ValueError("odd\nmore")), case("a", 0)]
    outcomes = run_cases(cases, 0.5, lambda found: states.append(dict(found)))
    assert order == ["a", "b", "broken"]
    assert len(states) == 3
    (result,) = tabulate(outcomes, {"part": Table("title", ("speed", "other"))}, "card: ")
    assert result.title == "card: title"
    assert result.rows == [
        ["b", 1.0, None],
        ["long", "not run", None],
        ["broken", "failed: ValueError: odd", None],
        ["a", 1.0, None],
    ]


def test_full_models_need_a_gpu(here, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert here("bench", "gpu") == 2
    assert "there is no GPU: add --small" in capsys.readouterr().err


def test_an_unknown_part_is_refused(here, capsys):
    with pytest.raises(SystemExit):
        here("bench", "gpu", "--small", "--only", "train,nothing")
    assert "no part 'nothing': choose among train, step, decode, input, growth" in capsys.readouterr().err


CASES = {"train": 4 * len(FUSIONS), "step": 1, "decode": 4, "input": 3, "growth": 3}


@pytest.mark.slow
@pytest.mark.parametrize("part", CASES)
@pytest.mark.filterwarnings("ignore")  # of libraries
def test_every_case_runs_on_tiny_models(part, here, tmp_path):
    """Each part in a test of its own, because compiled layers take minutes on a busy machine."""
    assert here("bench", "gpu", "--small", "--only", part, "--json", "tiny.json") == 0
    (table,) = json.loads((tmp_path / "tiny.json").read_text())["tables"]
    cells = [str(cell) for row in table["rows"] for cell in row.values()]
    assert len(table["rows"]) == CASES[part]
    assert [cell for cell in cells if cell.startswith(("failed", "not run"))] == []
    assert "NOT A GPU" in (tmp_path / "tiny.md").read_text()


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_training_step_with_a_llama_trunk_runs(kind, tmp_path):
    """The cases that once failed on a GPU, because a class of transformers was missing."""
    setting = Setting(small=True, folder=tmp_path)
    pair = setting.models.hugging_face
    model = pair.build(kind)
    before = [parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad]
    training_step(setting, model, pair.batch(2))()
    after = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
