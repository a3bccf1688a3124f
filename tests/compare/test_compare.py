"""Comparisons of run folders: methods, figures, pairs, notes and skipped runs."""

import csv
import json
import math
import os
import shutil
import time

import numpy as np
import pytest
from helpers.run_folders import fusions, run

from velm_lightning.cli.commands import main
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.grouping import short_names
from velm_lightning.compare.modality_reliance import estimate
from velm_lightning.compare.reading import RunFolder, read_runs
from velm_lightning.compare.views.exports import latex, markdown, table_of_runs
from velm_lightning.compare.views.numbers import short
from velm_lightning.errors import InputError


def compared(folder, **words):
    return compare(*read_runs([folder]), **words)


def edit(folder, **fields):
    path = folder / "run.json"
    values = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps(values | fields))


# Methods


def test_runs_that_differ_in_their_seed_are_one_method(tmp_path):
    comparison = compared(fusions(tmp_path))
    assert [result.method.name for result in comparison.results][0] == "InteractiveFusion"
    assert {result.method.name: len(result.method.runs) for result in comparison.results} == {
        "InteractiveFusion": 3,
        "LateFusion": 3,
        "TextOnly": 3,
    }
    assert [result.method.name for result in comparison.results if result.method.control] == ["TextOnly"]


def test_settings_that_differ_within_a_fusion_are_in_its_name(tmp_path):
    run(tmp_path, optimizer__lr=1e-3)
    run(tmp_path, optimizer__lr=3e-4)
    run(tmp_path, "EarlyFusion")
    names = {result.method.name for result in compared(tmp_path).results}
    assert names == {"LateFusion · lr=0.001", "LateFusion · lr=0.0003", "EarlyFusion"}


def encoder(kind, **arguments):
    return {"class_path": f"velm_lightning.encoders.{kind}", "init_args": arguments}


def test_arguments_of_a_part_are_named_only_if_its_class_is_not_enough(tmp_path):
    """The config of a pretrained model, which has dozens of values, follows from its name."""
    small, large = ({"hidden_size": size, "vocab_size": 100 * size} for size in (8, 16))
    encoders = [encoder("RNN", dim=8, depth=2), encoder("HF", name="small", config=small, trainable=0)]
    for text_encoder in encoders:
        run(tmp_path, model__init_args__text_encoder=text_encoder)
    names = {result.method.name for result in compared(tmp_path).results}
    assert names == {"LateFusion · text_encoder=RNN", "LateFusion · text_encoder=HF"}
    run(tmp_path, model__init_args__text_encoder=encoder("HF", name="large", config=large, trainable=0))
    run(tmp_path, model__init_args__text_encoder=encoder("RNN", dim=16, depth=2))
    assert {result.method.name for result in compared(tmp_path).results} == {
        *("LateFusion · text_encoder=RNN · dim=8", "LateFusion · text_encoder=RNN · dim=16"),
        *("LateFusion · text_encoder=HF · name=small", "LateFusion · text_encoder=HF · name=large"),
    }


def test_classes_of_one_name_in_two_modules_are_told_apart_by_arguments(tmp_path):
    for module, dim in (("first", 8), ("second", 16)):
        run(tmp_path, model__init_args__text_encoder=encoder(f"{module}.Own", dim=dim))
    names = {result.method.name for result in compared(tmp_path).results}
    assert names == {"LateFusion · text_encoder=Own · dim=8", "LateFusion · text_encoder=Own · dim=16"}


def test_runs_that_start_from_seeds_of_one_method_are_one_method(tmp_path):
    for seed in range(2):
        for start in (None, "early", "late"):
            path = start and f"/elsewhere/runs/pretrain/{start}fusion-s{seed}-0a{seed}b2c/checkpoints/best.ckpt"
            run(tmp_path, seed=seed, model__init_args__init_from=path)
    assert {result.method.name: len(result.method.runs) for result in compared(tmp_path).results} == {
        "LateFusion · init_from=—": 2,
        "LateFusion · init_from=pretrain/earlyfusion": 2,
        "LateFusion · init_from=pretrain/latefusion": 2,
    }


def test_folders_and_loading_settings_do_not_split_a_method(tmp_path):
    run(tmp_path, seed=0)
    run(tmp_path, seed=1, data__num_workers=2, tracking__tags=["a"])
    (result,) = compared(tmp_path).results
    assert len(result.method.runs) == 2


def test_a_setting_that_differs_between_fusions_is_noted(tmp_path):
    for fusion, size in (("LateFusion", 64), ("EarlyFusion", 32), ("InteractiveFusion", 32)):
        run(tmp_path, fusion, data__batch_size=size)
    sentence = "Not on equal footing: batch_size is 32 for EarlyFusion and InteractiveFusion; 64 for LateFusion."
    assert sentence in compared(tmp_path).notes


def test_names_are_the_shortest_unique_endings():
    keys = ["model.init_args.optimization.init_args.lr", "model.init_args.task.dropout", "model.init_args.dropout"]
    assert list(short_names(keys).values()) == ["lr", "task.dropout", "model.init_args.dropout"]


# Figures


def test_a_score_is_the_mean_of_the_reported_scores(tmp_path):
    comparison = compared(fusions(tmp_path))
    result = comparison.results[0]
    assert result.score.value == pytest.approx(
        np.mean([run.record["scores"]["test"]["score"] for run in result.method.runs])
    )
    assert result.score.low < result.score.value < result.score.high
    assert set(result.groups) == {"count", "colour"}
    assert np.mean([group.value for group in result.groups.values()]) == pytest.approx(result.score.value)
    assert result.costs["inference_flops_per_sample"] == 34_000_000


def test_the_test_split_is_compared_if_all_runs_have_it(tmp_path):
    folder = run(tmp_path)
    assert compared(tmp_path).split == "test"
    run(tmp_path, "EarlyFusion")
    scores = json.loads((folder / "run.json").read_text())["scores"]
    edit(folder, scores={"val": scores["val"]})
    assert compared(tmp_path).split == "val"
    comparison = compared(tmp_path, split="test")
    assert [left.why for left in comparison.left] == ["it was not evaluated on 'test'"]


# Pairs


def test_a_large_gap_is_clear_and_a_small_one_is_open(tmp_path):
    comparison = compared(fusions(tmp_path, seeds=4))
    clear = {(pair.a.method.name, pair.b.method.name): pair.clear for pair in comparison.pairs}
    assert clear["InteractiveFusion", "LateFusion"]
    assert clear["InteractiveFusion", "TextOnly"]
    assert not clear["TextOnly", "LateFusion"]
    assert all(pair.difference.paired and pair.difference.seeds == 4 for pair in comparison.pairs)


def test_a_fusion_that_does_not_beat_the_control_is_named(tmp_path):
    notes = " ".join(compared(fusions(tmp_path, seeds=4)).notes)
    assert "Not shown to beat the better control, TextOnly: LateFusion." in notes
    assert "Open, 1 of 3 pairs: TextOnly over LateFusion (needs more images)." in notes


def test_the_better_of_two_controls_counts(tmp_path):
    for seed in range(3):
        run(tmp_path, "TextOnly", seed, 0.3)
        run(tmp_path, "ImageOnly", seed, 0.7)
        run(tmp_path, "LateFusion", seed, 0.5)
    notes = " ".join(compared(tmp_path).notes)
    assert "Not shown to beat the better control, ImageOnly: LateFusion." in notes


def test_other_models_can_be_called_controls(tmp_path):
    for seed in range(3):
        run(tmp_path, "LateFusion", seed, 0.6)
        run(tmp_path, "Bag", seed, 0.6)
    comparison = compared(tmp_path, controls=["Bag"])
    assert [result.method.name for result in comparison.results if result.method.control] == ["Bag"]


def test_runs_on_other_data_are_never_paired(tmp_path):
    run(tmp_path, "LateFusion")
    run(tmp_path, "EarlyFusion", record={"data": {"train": "xx", "val": "bb", "test": "cc"}})
    comparison = compared(tmp_path)
    assert not comparison.pairs
    assert any(note.startswith("Not paired, because data fingerprints or scorers differ") for note in comparison.notes)


def test_seeds_that_are_not_common_are_left_out_of_a_pair(tmp_path):
    for seed in (0, 1, 2):
        run(tmp_path, "LateFusion", seed)
    for seed in (1, 2, 3):
        run(tmp_path, "EarlyFusion", seed, 0.4)
    (pair,) = compared(tmp_path).pairs
    assert (pair.difference.seeds, pair.difference.paired) == (2, True)


def test_runs_without_common_seeds_are_compared_as_independent(tmp_path):
    for seed in (0, 1):
        run(tmp_path, "LateFusion", seed)
        run(tmp_path, "EarlyFusion", seed + 5, 0.4)
    (pair,) = compared(tmp_path).pairs
    assert (pair.difference.seeds, pair.difference.paired) == (2, False)


def test_a_method_with_one_seed_is_noted(tmp_path):
    run(tmp_path, "LateFusion")
    run(tmp_path, "EarlyFusion", right=0.3)
    notes = compared(tmp_path).notes
    assert any(note.startswith("One seed only (LateFusion, EarlyFusion)") for note in notes)


def test_the_best_trials_of_each_fusion_are_compared(tmp_path):
    for trial in range(6):
        for fusion in ("LateFusion", "EarlyFusion"):
            run(tmp_path, fusion, right=0.4 + 0.05 * trial, optimizer__lr=trial / 10)
    comparison = compared(tmp_path)
    assert len(comparison.results) == 12
    (pair,) = comparison.pairs
    for result in (pair.a, pair.b):
        same = [other.validation for other in comparison.results if other.method.fusion == result.method.fusion]
        assert result.validation == max(same)
    assert {fusion: len(curve) for fusion, curve in comparison.budgets.items()} == {"LateFusion": 6, "EarlyFusion": 6}
    assert all(np.all(np.diff(curve) >= 0) for curve in comparison.budgets.values())


# What is left out


def test_unfinished_and_broken_runs_are_named_and_left_out(tmp_path):
    run(tmp_path, "EarlyFusion")
    folders = {
        "pruned": run(tmp_path, seed=1, record={"status": "pruned"}),
        "no record": run(tmp_path, seed=2),
        "cut record": run(tmp_path, seed=3),
        "no predictions": run(tmp_path, seed=4),
        "cut predictions": run(tmp_path, seed=5),
        "fewer rows": run(tmp_path, seed=6),
        "bad config": run(tmp_path, seed=7),
        "other rows": run(tmp_path, seed=8),
    }
    (folders["no record"] / "run.json").unlink()
    (folders["cut record"] / "run.json").write_text('{"id": ')
    predictions = {name: folder / "predictions" / "test.jsonl" for name, folder in folders.items()}
    predictions["no predictions"].unlink()
    text = predictions["cut predictions"].read_text()
    predictions["cut predictions"].write_text(text[:-20])
    predictions["fewer rows"].write_text("".join(text.splitlines(keepends=True)[:-1]))
    (folders["bad config"] / "config.yaml").write_text("a: [")
    predictions["other rows"].write_text(text.replace("000-0", "other"))
    comparison = compared(tmp_path)
    assert [result.method.name for result in comparison.results] == ["EarlyFusion"]
    reasons = {left.folder: left.why for left in comparison.left}
    expected = {
        "pruned": "its status is 'pruned'",
        "no record": "it has no run.json",
        "cut record": "run.json cannot be read",
        "no predictions": "it has no predictions/test.jsonl",
        "cut predictions": "predictions/test.jsonl cannot be read",
        "fewer rows": "predictions/test.jsonl has 159 rows, 160 samples were evaluated",
        "bad config": "config.yaml cannot be read",
        "other rows": "its test predictions are of other samples",
    }
    assert {name: reasons[folder].startswith(expected[name]) for name, folder in folders.items()} == dict.fromkeys(
        folders, True
    )


def test_the_latest_of_repeated_runs_counts(tmp_path):
    first = run(tmp_path / "a")
    run(tmp_path / "b", record={"started": "2026-02-01T00:00:00+00:00"})
    comparison = compared(tmp_path)
    assert len(comparison.runs) == 1
    assert [left.folder for left in comparison.left] == [first]
    assert "repeats its configuration and seed" in comparison.left[0].why


def test_nothing_to_compare_is_an_error_with_the_reason(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_runs([tmp_path / "none"])
    with pytest.raises(InputError, match="cannot be read .*too long|does not exist"):
        read_runs([tmp_path / ("x" * 300)])
    with pytest.raises(InputError, match="holds no runs"):
        read_runs([tmp_path])
    run(tmp_path, record={"status": "failed"})
    with pytest.raises(InputError, match="none of 1 runs can be compared.*\n.*its status is 'failed'"):
        compared(tmp_path)


def test_rows_without_image_names_are_noted(tmp_path):
    folder = run(tmp_path)
    path = folder / "predictions" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"image": ""}) + "\n" for row in rows))
    assert any(
        note.startswith("Each sample is assumed to have an image of its own") for note in compared(tmp_path).notes
    )


def test_samples_without_a_score_are_left_out(tmp_path):
    folder = run(tmp_path)
    path = folder / "predictions" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"score": None if n < 10 else 1.0}) + "\n" for n, row in enumerate(rows)))
    scores = RunFolder(folder).scores("test")
    assert len(scores.keys) == 150
    assert set(scores.values) == {1.0}


# Reliance on each modality, and costs


def probed(folder, cost, split="test", shares=(0.0, 1.0)):
    """Write the probe of a run whose score drops by ``cost`` with shuffled images and to half without images."""
    shuffled = {"image": {"scores": [0.6 - cost], "cost": cost, "perceptual": cost / 0.6}}
    probe = {"split": split, "shuffled": shuffled, "shares": list(shares), "missing": {"image": [0.6, 0.3]}}
    (folder / "probe.json").write_text(json.dumps(probe))


def test_the_reliance_on_the_image_is_the_mean_of_the_probes(tmp_path):
    for seed, cost in enumerate((0.2, 0.3)):
        probed(run(tmp_path, seed=seed), cost)
    run(tmp_path, "TextOnly")
    comparison = compared(tmp_path)
    reliance = {result.method.name: result.probe for result in comparison.results}
    assert reliance["TextOnly"] == {}
    assert reliance["LateFusion"]["image"].cost.value == pytest.approx(0.25)
    assert reliance["LateFusion"]["image"].missing == [0.6, 0.3]
    assert "| LateFusion | image | 0.2500" in markdown(comparison)
    (panel,) = (panel for panel in panels(comparison) if panel.title == "Missing modalities")
    assert panel.variants["image"]["data"][0]["y"] == [0.6, 0.3]


@pytest.mark.parametrize("changed", [{"split": "val"}, {"shares": (0.0, 0.5)}])
def test_probes_of_different_kinds_are_not_averaged(tmp_path, changed):
    probed(run(tmp_path, seed=0), 0.2)
    probed(run(tmp_path, seed=1), 0.2, **changed)
    assert compared(tmp_path).results[0].probe == {}


def test_a_method_with_an_unprobed_run_has_no_reliance(tmp_path):
    probed(run(tmp_path, seed=0), 0.2)
    (run(tmp_path, seed=1) / "probe.json").write_text("{}")
    assert compared(tmp_path).results[0].probe == {}


def test_energy_and_price_follow_from_device_minutes(tmp_path):
    run(tmp_path, record={"device_minutes": 90.0})
    runs, _ = read_runs([tmp_path])
    estimate(runs, watts=200, price=3.0)
    costs = compare(runs).results[0].costs
    assert costs["kwh"] == pytest.approx(0.3)
    assert costs["price"] == pytest.approx(4.5)
    for wrong in (0, -1, math.nan, math.inf, 1e300):
        with pytest.raises(InputError, match="--watts must be above 0 and at most 1e.06, got "):
            estimate(runs, watts=wrong, price=None)
        with pytest.raises(InputError, match="--price must be above 0 and at most 1e.06, got "):
            estimate(runs, watts=None, price=wrong)


# Outputs


def test_the_command_prints_and_writes_the_same_numbers(tmp_path, capsys):
    fusions(tmp_path / "runs")
    out = {name: tmp_path / "out" / f"all.{name}" for name in ("markdown", "csv", "latex")}
    out["csv"].parent.mkdir()
    out["csv"].symlink_to(tmp_path / "table.csv")  # as into the folder of a paper
    words = [word for name, path in out.items() for word in (f"--{name}", str(path))]
    assert main(["compare", str(tmp_path / "runs" / "*fusion*"), *words]) == 0
    comparison = compare(*read_runs([path for path in (tmp_path / "runs").iterdir() if "fusion" in path.name]))
    score = f"{comparison.results[0].score.value:.4f}"
    assert score in capsys.readouterr().out
    assert score in out["markdown"].read_text()
    assert score in out["latex"].read_text()
    with (tmp_path / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {float(row["test/score"]) for row in table} == {run.figure("test") for run in comparison.runs}


def test_names_cannot_break_the_tables(tmp_path):
    run(tmp_path, note="a|b_c & 50%")
    run(tmp_path, note="plain")
    comparison = compared(tmp_path)
    assert r"note=a\|b\_c & 50%" in markdown(comparison)
    assert r"note=a|b\_c \& 50\%" in latex(comparison)
    assert "note=a|b_c & 50%" in table_of_runs(comparison)


def test_a_spreadsheet_evaluates_no_cell(tmp_path):
    """Texts that begin like a formula get an apostrophe, numbers stay numbers."""
    for value in ("=HYPERLINK(1)", "+1+1", "@SUM(1)", "-cmd", -0.5, "-0.5", "+1e5"):
        run(tmp_path, note=value)
    rows = list(csv.DictReader(table_of_runs(compared(tmp_path)).splitlines()))
    assert {row["note"] for row in rows} == {
        *("'=HYPERLINK(1)", "'+1+1", "'@SUM(1)", "'-cmd"),
        *("-0.5", "100000.0"),
    }


def test_markdown_holds_no_links_mentions_or_extra_lines(tmp_path):
    for value in (
        "see https://evil.example",
        "or www.evil.example now",
        "ask me@evil.example",
        "a\r\rb\u2028c",
        "&lt;b&gt;",
    ):
        run(tmp_path, note=value)
    text = markdown(compared(tmp_path))
    assert "https&#58;//evil" in text
    assert "www&#46;evil" in text
    assert "me&#64;evil" in text
    assert "a  b c" in text
    assert "&amp;lt;b&amp;gt;" in text
    assert not {"\r", "\u2028"} & set(text)


def test_the_title_of_an_axis_is_plain_text(tmp_path):
    folder = run(tmp_path)
    name = 'val/<a href="https://evil.example">x</a>'
    (folder / "metrics.csv").write_text(f"step,{csv_cell(name)}\n1,0.5\n2,0.5\n")
    titles = json.dumps([panel.variants for panel in panels(compared(tmp_path))])
    assert "&lt;a href=" in titles
    assert '"text": "val/<a' not in titles


def csv_cell(text):
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize(
    ("value", "text"),
    [(954_176, "954 k"), (26_127_360, "26.1 M"), (3.858, "3.86"), (966.3, "966"), (float("nan"), "—")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_two_hundred_runs_are_read_in_seconds(tmp_path):
    first = run(tmp_path, seed=0, images=500)
    for seed in range(1, 200):
        again = shutil.copytree(first, tmp_path / f"late-s{seed}", copy_function=os.link)
        edit(again, seed=seed, id=again.name)
    start = time.process_time()
    comparison = compared(tmp_path)
    assert len(comparison.runs) == 200
    assert time.process_time() - start < 10
