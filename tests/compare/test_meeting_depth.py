"""The curve of score against the depth at which image and text meet, from made-up run folders."""

import math
import re

import pytest
from helpers.run_folders import HOSTILE, fusions, run
from PIL import Image

from velm_lightning.cli.compare import main
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.meeting_depth import ALL, curve_of, tuning_of
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import sheets
from velm_lightning.compare.views.binding_table import binding_sheet
from velm_lightning.compare.views.meeting_curve import curve_panel, draw_curve
from velm_lightning.errors import InputError


def arm(folder, fusion, kind, depth, right, seeds=3, **changes):
    for seed in range(seeds):
        meeting = {"kind": kind, "depth": depth}
        run(folder, fusion, seed, right, record={"meeting": meeting}, model__init_args__depth=depth, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for depth, right in ((0.0, 0.8), (0.5, 0.7), (1.0, 0.6)):
        arm(folder, "EarlyFusion", "joined attention", depth, right)
    for depth, right in ((0.5, 0.75), (0.0, 0.65)):
        arm(folder, "InterleavedFusion", "cross-attention", depth, right)
    arm(folder, "LateFusion", "merge", 1.2, 0.55)
    for seed in range(3):
        run(folder, "TextOnly", seed, 0.4, record={"meeting": None})
        run(folder, "ImageOnly", seed, 0.3)
    return folder


@pytest.fixture(scope="module")
def comparison(folder):
    return compare(*read_runs([folder]))


def test_every_kind_is_a_line_over_its_depths(comparison):
    parts = curve_of(comparison)
    assert [part.group for part in parts] == [ALL, "colour", "count"]
    assert [(line.kind, line.depths) for line in parts[0].lines] == [
        ("joined attention", [0.0, 0.5, 1.0]),
        ("cross-attention", [0.0, 0.5]),
        ("merge", [1.2]),
    ]
    scores = {(result.method.fusion, result.score.value): result.score for result in comparison.results}
    assert all(("EarlyFusion", score.value) in scores for score in parts[0].lines[0].scores)
    assert all(0 < score.half < math.inf for line in parts[0].lines for score in line.scores)


def test_groups_have_their_own_scores_and_controls_are_floors(comparison):
    parts = curve_of(comparison)
    result = next(each for each in comparison.results if each.method.fusion == "LateFusion")
    for part in parts[1:]:
        assert part.lines[2].scores == [result.groups[part.group]]
        assert {name for name, _ in part.floors} == {"TextOnly", "ImageOnly"}
    controls = {each.method.name: each.score for each in comparison.results if each.method.control}
    assert dict(parts[0].floors) == controls


def test_the_dashboard_has_one_plot_with_a_part_per_group(comparison):
    panel = curve_panel(comparison)
    (figure,) = panel.variants.values()
    axes = [name for name in figure["layout"] if name.startswith("xaxis")]
    assert axes == ["xaxis", "xaxis2", "xaxis3"]
    assert [note["text"].partition(":")[0] for note in figure["layout"]["annotations"]] == [ALL, "colour", "count"]
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines+markers"]
    assert len(lines) == 3 * 3
    assert [trace["xaxis"] for trace in lines] == ["x"] * 3 + ["x2"] * 3 + ["x3"] * 3
    bands = [trace for trace in figure["data"] if trace.get("fill")]
    assert len(bands) == 2 * 3, "one per line of several depths"
    named = [trace["name"] for trace in figure["data"] if trace.get("showlegend")]
    assert named == ["joined attention", "cross-attention", "merge", "TextOnly", "ImageOnly"]


def test_the_table_has_a_row_per_place(comparison):
    sheet = next(sheet for sheet in sheets(comparison) if sheet.title.startswith("score by meeting depth"))
    assert sheet.head == ["kind", "depth", ALL, "colour", "count"]
    assert [row[:2] for row in sheet.rows][-2:] == [["cross-attention", "0.50"], ["merge", "after"]]
    assert all("±" in cell for row in sheet.rows for cell in row[2:])


def test_the_curve_is_written_as_a_picture(folder, tmp_path, capsys):
    path = tmp_path / "new" / "curve.png"
    assert main(["compare", str(folder), "--curve", str(path)]) == 0
    assert f"curve: {path}" in capsys.readouterr().out
    with Image.open(path) as picture:
        assert picture.size[0] > picture.size[1] > 300
        assert len(picture.convert("RGB").getcolors(10**6)) > 50


def test_names_are_no_formulas(tmp_path):
    for depth in (0.0, 0.5):
        arm(tmp_path, "EarlyFusion", f"$\\frac{HOSTILE}", depth, 0.6, seeds=1)
    comparison = compare(*read_runs([tmp_path]))
    draw_curve(comparison, tmp_path / "curve.svg")
    (figure,) = curve_panel(comparison).variants.values()
    assert all("<" not in trace.get("name", "") for trace in figure["data"])
    bands = [trace["xaxis"] for trace in figure["data"] if trace.get("fill")]
    assert bands == ["x"], "one seed has a band over images, and none in groups"


def test_of_several_methods_at_one_place_the_best_on_validation_is_drawn(tmp_path):
    arm(tmp_path, "EarlyFusion", "joined attention", 0.0, 0.5)
    for rate, right in ((0.1, 0.4), (0.2, 0.9), (0.3, 0.6)):
        arm(tmp_path, "EarlyFusion", "joined attention", 0.5, right, optimizer__lr=rate)
    comparison = compare(*read_runs([tmp_path]))
    best = max(comparison.results, key=lambda result: result.validation)
    (line,) = curve_of(comparison)[0].lines
    assert line.scores[1] == best.score


def test_without_two_depths_there_is_no_curve(tmp_path):
    comparison = compare(*read_runs([fusions(tmp_path)]))
    assert curve_of(comparison) == []
    assert not curve_panel(comparison).variants
    assert not [sheet for sheet in sheets(comparison) if "meeting depth" in sheet.title]
    with pytest.raises(InputError, match="--curve needs runs of one kind of fusion at two depths or more"):
        draw_curve(comparison, tmp_path / "curve.png")


@pytest.mark.parametrize("meeting", ["early", {"kind": "x"}, {"kind": None, "depth": "half"}, {"depth": math.nan}, 3])
def test_a_record_without_a_place_is_not_drawn(meeting, tmp_path):
    arm(tmp_path, "EarlyFusion", "joined attention", 0.0, 0.5, seeds=1)
    arm(tmp_path, "EarlyFusion", "joined attention", 0.5, 0.5, seeds=1)
    run(tmp_path, "LateFusion", 0, 0.5, record={"meeting": meeting})
    assert [line.kind for line in curve_of(compare(*read_runs([tmp_path])))[0].lines] == ["joined attention"]


def test_an_unknown_format_is_refused_by_name(comparison, tmp_path):
    with pytest.raises(InputError, match=r"--curve .*curve.doc: cannot be written .*: name a .png, .pdf or .svg file"):
        draw_curve(comparison, tmp_path / "curve.doc")


def test_the_spread_of_budgets_is_stated(tmp_path):
    for fusion, trainable in (("EarlyFusion", 700_000), ("LateFusion", 714_000)):
        run(tmp_path, fusion, record={"trainable": trainable, "training_flops_per_sample": 10**9})
    (note,) = (note for note in compare(*read_runs([tmp_path])).notes if note.startswith("Budgets"))
    assert note == (
        "Budgets: trained parameters 700,000 to 714,000 (2.0% apart); FLOPs of a training step per sample "
        "1,000,000,000 to 1,000,000,000 (0.0% apart)."
    )


# Frozen, LoRA and full tuning of pretrained trunks

TRUNK = {"class_path": "HFTextEncoder", "init_args": {"name": "tiny", "weights": True, "trainable": -1, "lora": None}}
LORA = {"class_path": "velm_lightning.encoders.LoRA", "init_args": {"rank": 8}}
TUNINGS = {"frozen": {"trainable": 0}, "LoRA": {"lora": LORA}, "full": {}, "last 2 layers": {"trainable": 2}}


def trunk(**changes):
    return TRUNK | {"init_args": TRUNK["init_args"] | changes}


@pytest.fixture
def tuned(tmp_path):
    for place, changes in enumerate(TUNINGS.values()):
        kinds = ("EarlyFusion", "joined attention"), ("InterleavedFusion", "cross-attention")
        for fusion, kind in kinds[place == 0 :]:  # frozen trunks have cross-attention only
            for depth in (0.0, 1.0):
                arm(tmp_path, fusion, kind, depth, 0.6, 2, model__init_args__text_encoder=trunk(**changes))
    run(tmp_path, "TextOnly", right=0.4, model__init_args__text_encoder=trunk(trainable=0))
    run(tmp_path, "ImageOnly", right=0.3)
    return compare(*read_runs([tmp_path]))


def test_each_kind_of_tuning_has_a_part_of_its_own(tuned):
    parts = [part for part in curve_of(tuned) if part.group == ALL]
    assert [part.tuning for part in parts] == ["frozen", "LoRA", "full", "last 2 layers"]
    assert [len(part.lines) for part in parts] == [1, 2, 2, 2]
    assert [part.title for part in parts][0] == "all samples, frozen"


def test_floors_are_the_controls_with_the_same_tuning(tuned):
    floors = {part.tuning: {name for name, _ in part.floors} for part in curve_of(tuned)}
    assert {name.partition(" ")[0] for name in floors["frozen"]} == {"TextOnly", "ImageOnly"}
    assert {name.partition(" ")[0] for name in floors["full"]} == {"ImageOnly"}


def test_kinds_keep_their_colours_and_are_named_once(tuned, tmp_path):
    drawn = curve_panel(tuned).variants["test"]["data"]
    colours = {(trace["name"], trace["line"]["color"]) for trace in drawn if trace.get("mode") == "lines+markers"}
    assert len(colours) == 2
    named = [trace["name"] for trace in drawn if trace.get("showlegend")]
    assert len(named) == len(set(named))
    draw_curve(tuned, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_the_table_names_the_tuning(tuned):
    (sheet,) = (sheet for sheet in sheets(tuned) if sheet.title.startswith("score by meeting depth"))
    assert [row[0] for row in sheet.rows[:3]] == ["cross-attention, frozen"] * 2 + ["cross-attention, LoRA"]


@pytest.mark.parametrize("changes", [{"name": None}, {"weights": False}, {"trainable": "odd"}])
def test_other_trunks_state_no_tuning(tmp_path, changes):
    run(tmp_path, "EarlyFusion", model__init_args__text_encoder=trunk(**changes))
    assert tuning_of(compare(*read_runs([tmp_path])).results[0]) == ""


def test_steps_to_bind_are_those_of_the_first_evaluation_above_the_midpoint(tmp_path):
    curves = {("EarlyFusion", 0): (0.3, 0.5, 0.7, 0.9), ("EarlyFusion", 1): (0.3, 0.7, 0.8, 0.7)}
    for fusion, seed in curves:
        run(tmp_path, fusion, seed, 0.8)
    for seed in range(2):
        run(tmp_path, "TextOnly", seed, 0.4)
        curves["TextOnly", seed] = (0.2, 0.3, 0.4, 0.4)
    for folder in tmp_path.glob("*/metrics.csv"):
        kind = "EarlyFusion" if "early" in folder.parent.name.lower() else "TextOnly"
        seed = int(re.search(r"s(\d)", folder.parent.name)[1])
        lines = [f"{step},{value}" for step, value in zip((9, 19, 29, 39), curves[kind, seed], strict=True)]
        folder.write_text("\n".join(["step,val/score", *lines]) + "\n")
    sheet = binding_sheet(compare(*read_runs([tmp_path])))
    assert sheet.rows == [["EarlyFusion", "2 of 2", "25", "20 to 30", "0.6250", "0.8500"]]
