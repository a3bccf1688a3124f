"""The plots of the page: one look per method in all of them, ticks and labels that can be read, one set per data."""

import json

import pytest
from helpers.run_folders import fusions, run

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import sheets
from velm_lightning.compare.views.numbers import percent
from velm_lightning.compare.views.parallel import axis_of


def plots(folder):
    return {panel.title: panel for panel in panels(compare(*read_runs([folder])))}


def with_parameters(folder, *numbers):
    """Runs of as many fusions, with these numbers of parameters."""
    names = ("EarlyFusion", "InteractiveFusion", "LateFusion")
    for name, parameters in zip(names, numbers, strict=False):
        made = run(folder, name)
        record = json.loads((made / "run.json").read_text()) | {"parameters": parameters}
        (made / "run.json").write_text(json.dumps(record))
    return plots(folder)["Score against cost"].variants


def test_the_number_of_a_dot_is_its_row_in_the_table(tmp_path):
    figure = with_parameters(tmp_path, 1_000, 2_000, 3_000)["parameters"]
    rows = [row[0] for row in sheets(compare(*read_runs([tmp_path])))[0].rows]
    dots = [trace for trace in figure["data"] if trace.get("text")]
    assert {f"{dot['text']} {rows[int(dot['text']) - 1]}" for dot in dots} == {dot["name"] for dot in dots}


def test_equal_costs_are_not_drawn(tmp_path):
    assert "parameters" not in with_parameters(tmp_path, 1_624_000, 1_625_000, 1_624_300)


@pytest.mark.parametrize(
    ("numbers", "limits"), [((100_000, 1_008_000), None), ((1_500_000, 1_600_000), [1_500_000 / 1.1, 1_760_000])]
)
def test_ticks_of_costs_have_three_digits_and_close_costs_some_room(tmp_path, numbers, limits):
    axis = with_parameters(tmp_path, *numbers)["parameters"]["layout"]["xaxis"]
    assert axis["tickformat"] == ".3~s"
    assert axis.get("range") == (limits and pytest.approx(limits))


def test_small_costs_have_no_unit(tmp_path):
    for name, minutes in (("EarlyFusion", 0.4), ("LateFusion", 0.8)):
        made = run(tmp_path, name)
        record = json.loads((made / "run.json").read_text()) | {"device_minutes": minutes}
        (made / "run.json").write_text(json.dumps(record))
    assert plots(tmp_path)["Score against cost"].variants["minutes"]["layout"]["xaxis"]["tickformat"] == ".4~g"


def test_a_method_has_one_colour_in_all_plots(tmp_path):
    drawn = plots(fusions(tmp_path, seeds=2))
    bars = drawn["Scores"].variants["score"]["data"][0]
    colours = dict(zip(bars["y"], bars["marker"]["color"], strict=True))
    lines = [*drawn["Reliability"].variants["calibration"]["data"], *drawn["Curves"].variants["val/score"]["data"]]
    named = {line["name"]: line["line"]["color"] for line in lines if "name" in line}
    assert named == colours


def test_ticks_of_a_parallel_axis_differ_as_texts():
    ticks = [text for _, text in axis_of("parameters", [1_624_000, 1_624_200, 1_624_900, 1_630_000]).ticks]
    assert ticks == ["1.62 M", "1.63 M"]


def test_each_data_set_has_its_answers_described(tmp_path):
    for data in ("a", "b"):
        made = run(tmp_path, "LateFusion", data__dataset__folder=data)
        record = json.loads((made / "run.json").read_text()) | {"data": {"test": data}}
        (made / "run.json").write_text(json.dumps(record))
    comparison = compare(*read_runs([tmp_path]))
    assert sum(sheet.title.startswith("calibration error · data set") for sheet in sheets(comparison)) == 2
    assert sum(panel.title.startswith("Reliability · data set") for panel in panels(comparison)) == 2


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0%"), (1e-9, "< 0.1%"), (0.5, "50.0%"), (0.99999, "> 99.9%"), (1.0, "100.0%")]
)
def test_a_probability_is_not_rounded_to_certainty(share, text):
    assert percent(share) == text
