"""The claims of a comparison, from run folders: the runs that they rest on, their metric and their wording."""

import json

import numpy as np
import pytest
import yaml
from helpers.run_folders import config, fusions, lines, number, run

from velm_lightning.cli.commands import main
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.measures import macro_f1
from velm_lightning.compare.reading import RunFolder, read_runs
from velm_lightning.compare.tables import sheets
from velm_lightning.compare.views.exports import markdown
from velm_lightning.errors import InputError


def compared(folder, **words):
    return compare(*read_runs([folder]), **words)


def verdicts(comparison):
    return {(pair.a.method.name, pair.b.method.name): pair.verdict for pair in comparison.pairs}


def sheet(comparison, start):
    (table,) = (table for table in sheets(comparison) if table.title.startswith(start))
    return table


# One set of runs decides


def scored(folder, fusion, seed, scores):
    """Write a run whose ten images have these scores."""
    made = run(folder, fusion, seed, images=1)
    rows = [
        {"key": f"{n}", "group": "", "prediction": "a", "references": ["a"], "score": s} for n, s in enumerate(scores)
    ]
    for split in ("val", "test"):
        (made / "predictions" / f"{split}.jsonl").write_text(lines(rows))
    record = json.loads((made / "run.json").read_text())
    record["scores"] = {split: {"score": float(np.mean(scores)), "samples": len(rows)} for split in ("val", "test")}
    (made / "run.json").write_text(json.dumps(record))
    return made


def test_the_sign_is_of_the_runs_that_are_compared(tmp_path):
    """Late fusion leads over all seeds, early fusion over the seeds in common, which are tested."""
    for seed, late in enumerate((0.50, 0.51, 0.50, 1.0, 1.0)):
        scored(tmp_path, "LateFusion", seed, np.full(10, late))
    for seed, early in enumerate((0.60, 0.61, 0.605)):
        scored(tmp_path, "EarlyFusion", seed, np.full(10, early))
    comparison = compared(tmp_path)
    assert [result.method.name for result in comparison.results] == ["LateFusion", "EarlyFusion"]
    (pair,) = comparison.pairs
    assert (pair.a.method.name, pair.difference.seeds) == ("EarlyFusion", 3)
    assert pair.difference.interval.value == pytest.approx(np.mean([0.10, 0.10, 0.105]))
    assert pair.clear


@pytest.mark.parametrize(("common", "paired", "seeds"), [(0, False, 3), (1, False, 3), (2, True, 2), (3, True, 3)])
def test_seeds_in_common_are_paired_if_there_are_two(tmp_path, common, paired, seeds):
    for seed in range(3):
        run(tmp_path, "LateFusion", seed)
        run(tmp_path, "EarlyFusion", seed + 3 - common)
    (pair,) = compared(tmp_path).pairs
    assert (pair.difference.paired, pair.difference.seeds) == (paired, seeds)


# Too few seeds


def test_two_seeds_allow_no_claim_however_large_the_gap(tmp_path):
    for seed in range(2):
        run(tmp_path, "LateFusion", seed, 0.99)
        run(tmp_path, "EarlyFusion", seed, 0.01)
    (pair,) = compared(tmp_path).pairs
    assert np.isfinite(pair.difference.interval.half)
    assert (pair.clear, pair.verdict) == (False, "too few seeds: needs about 3 seeds")


def test_one_seed_allows_a_statement_about_two_models_only(tmp_path):
    run(tmp_path, "LateFusion", right=0.9)
    run(tmp_path, "EarlyFusion", right=0.2)
    comparison = compared(tmp_path)
    (words,) = verdicts(comparison).values()
    assert words == "one seed, no claim about methods: these two models differ; needs at least 3 seeds"
    assert any("only about these models" in note for note in comparison.notes)


def test_more_methods_need_more_seeds(tmp_path):
    for seed in range(3):
        run(tmp_path, "LateFusion", seed, 0.9)
        run(tmp_path, "EarlyFusion", seed, 0.2)
    assert [pair.verdict for pair in compared(tmp_path).pairs] == ["clear"]
    for seed in range(3):
        run(tmp_path, "InteractiveFusion", seed, 0.5)
    comparison = compared(tmp_path)
    assert (comparison.family.methods, comparison.family.least, comparison.family.tests) == (3, 4, 0)
    assert not any(pair.clear for pair in comparison.pairs)


def test_methods_with_few_seeds_do_not_weaken_the_others(tmp_path):
    for seed in range(3):
        run(tmp_path, "LateFusion", seed, 0.9)
        run(tmp_path, "EarlyFusion", seed, 0.2)
    only_pair = compared(tmp_path).pairs[0]
    for seed in range(2):
        run(tmp_path, "InteractiveFusion", seed, 0.5)
    comparison = compared(tmp_path)
    assert comparison.family.tests == 1
    assert {pair.least for pair in comparison.pairs if not pair.clear} == {4}, "as three methods with enough seeds need"
    assert next(pair for pair in comparison.pairs if pair.clear).p == only_pair.p


def test_an_open_pair_names_the_number_of_seeds_it_needs(tmp_path):
    for seed, gap in enumerate((0.02, 0.10, -0.03, 0.09)):
        scored(tmp_path, "LateFusion", seed, np.full(10, 0.5 + gap))
        scored(tmp_path, "EarlyFusion", seed, np.full(10, 0.5))
    comparison = compared(tmp_path)
    assert list(verdicts(comparison).values()) == ["open: needs about 17 seeds"]
    assert "(needs about 17 seeds)" in " ".join(comparison.notes)
    assert "open: needs about 17 seeds" in markdown(comparison)


# The families and the control


def test_every_table_of_tests_names_its_family(tmp_path):
    comparison = compared(fusions(tmp_path, seeds=4))
    assert sheet(comparison, "paired").caption.startswith("Family: all pairs of methods, tested together: 3 pairs")
    assert "Family: all methods against the better control" in sheet(comparison, "against the better control").caption
    assert "Family: groups" in sheet(comparison, "score by group").caption


def test_tables_and_panels_state_their_intervals(tmp_path):
    fusions(tmp_path, seeds=4)
    for seed in range(4):
        run(tmp_path, "LateFusion", seed, 0.55, optimizer__lr=1e-3)
    comparison = compared(tmp_path)
    assert all("interval" in table.caption.lower() for table in sheets(comparison))
    captions = {panel.title: panel.caption for panel in panels(comparison)}
    for title in ("Scores", "Score against cost", "Score by budget", "Groups"):
        assert "interval" in captions[title], title


def test_the_control_is_judged_by_the_p_of_its_pairs(tmp_path):
    comparison = compared(fusions(tmp_path, seeds=4))
    rows = {row[0]: row for row in sheet(comparison, "against the better control").rows}
    pairs = {pair.a.method.name: pair for pair in comparison.pairs if pair.b.method.control}
    assert rows["InteractiveFusion"][-1] == "clearly better"
    assert pairs["InteractiveFusion"].clear
    assert rows["LateFusion"][1].startswith("-0.0"), "method less control"
    assert rows["LateFusion"][-1] == verdicts(comparison)["TextOnly", "LateFusion"]


def test_the_note_about_the_control_follows_the_corrected_p(tmp_path):
    """The interval excludes 0, but the corrected p is above 0.05: the note must agree with the pair."""
    gaps = (0.01, 0.03, 0.02, 0.035, 0.01)
    for seed, gap in enumerate(gaps):
        scored(tmp_path, "TextOnly", seed, np.full(10, 0.5))
        for place, fusion in enumerate(("LateFusion", "EarlyFusion", "InteractiveFusion", "Bag")):
            scored(tmp_path, fusion, seed, np.full(10, 0.5 + gap + 0.001 * place * (-1) ** seed))
    comparison = compared(tmp_path)
    open_pairs = [
        pair
        for pair in comparison.against(comparison.controls[0])
        if pair.difference.interval.low > 0 and not pair.clear
    ]
    assert open_pairs
    (note,) = (note for note in comparison.notes if note.startswith("Not shown to beat the better control"))
    assert all(pair.a.method.name in note for pair in open_pairs)


# The metric


def labelled(folder, fusion, seed, predictions, labels, monitor="val/macro_f1", **record):
    """Write a run of a classifier, with the figures that its task reports."""
    made = run(folder, fusion, seed, checkpoint__monitor=monitor)
    rows = [
        {"key": str(n), "group": "", "image": f"i{n // 2}", "prediction": p, "references": [t], "score": float(p == t),
         "loss": 0.1 * n}
        for n, (p, t) in enumerate(zip(predictions, labels, strict=True))
    ]  # fmt: skip
    scores = {
        "score": np.mean([row["score"] for row in rows]),
        "macro_f1": f1(predictions, labels),
        "loss": np.mean([row["loss"] for row in rows]),
        "samples": len(rows),
    }
    for split in ("val", "test"):
        (made / "predictions" / f"{split}.jsonl").write_text(lines(rows))
    whole = json.loads((made / "run.json").read_text()) | {"scores": {"val": scores, "test": scores}} | record
    (made / "run.json").write_text(json.dumps(whole))
    return made


def f1(predictions, labels):
    """Macro-F1 by its definition, class by class."""
    values = []
    for name in {*predictions, *labels}:
        hits = sum(p == t == name for p, t in zip(predictions, labels, strict=True))
        values.append(2 * hits / (predictions.count(name) + labels.count(name)))
    return sum(values) / len(values)


LABELS = ["yes"] * 16 + ["no"] * 4
MAJORITY = ["yes"] * 20
RARE = ["no"] * 6 + ["yes"] * 10 + ["no"] * 4  # finds the rare class, at the cost of accuracy


def skewed(folder, seeds=3, **words):
    for seed in range(seeds):
        labelled(folder, "InteractiveFusion", seed, MAJORITY, LABELS, **words)
        labelled(folder, "LateFusion", seed, RARE, LABELS, **words)


def test_runs_are_compared_by_the_figure_that_they_monitor(tmp_path):
    skewed(tmp_path)
    comparison = compared(tmp_path)
    assert [result.method.name for result in comparison.results] == ["LateFusion", "InteractiveFusion"]
    assert comparison.results[0].score.value == pytest.approx(f1(RARE, LABELS))
    (pair,) = comparison.pairs
    assert pair.difference.interval.value == pytest.approx(f1(RARE, LABELS) - f1(MAJORITY, LABELS))
    assert "By macro_f1 LateFusion leads, by score InteractiveFusion." in comparison.notes
    assert sheet(comparison, "other figures").head == ["method", "score", "loss"]


def test_another_figure_can_be_chosen(tmp_path, capsys):
    skewed(tmp_path)
    assert main(["compare", str(tmp_path), "--metric", "score"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Compared by score: chosen by --metric." in output
    assert compared(tmp_path, metric="score").results[0].method.name == "InteractiveFusion"
    with pytest.raises(InputError, match="--metric bleu is not among the figures .* on test: score, macro_f1, loss"):
        compared(tmp_path, metric="bleu")


def test_a_lower_loss_is_better(tmp_path):
    skewed(tmp_path, monitor="val/loss")
    for path in tmp_path.glob("latefusion*/config.yaml"):
        path.write_text(path.read_text().replace("monitor: val/loss", "monitor: val/loss\n  mode: min"))
    for path in tmp_path.glob("interactive*/config.yaml"):
        path.write_text(path.read_text().replace("monitor: val/loss", "monitor: val/loss\n  mode: min"))
    for path in tmp_path.glob("latefusion*/predictions/test.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text(lines([row | {"loss": row["loss"] / 2} for row in rows]))
        record = json.loads((path.parents[1] / "run.json").read_text())
        record["scores"]["test"]["loss"] /= 2
        (path.parents[1] / "run.json").write_text(json.dumps(record))
    comparison = compared(tmp_path)
    assert comparison.metric[:2] == ("loss", -1)
    assert comparison.pairs[0].a.method.name == comparison.results[0].method.name == "LateFusion"
    assert comparison.pairs[0].difference.interval.value < 0


def test_runs_that_monitor_several_figures_use_the_score(tmp_path):
    skewed(tmp_path)
    labelled(tmp_path, "EarlyFusion", 0, RARE, LABELS, monitor="val/loss")
    comparison = compared(tmp_path)
    assert comparison.metric.name == "score"
    assert any("the runs monitor loss, macro_f1" in note for note in comparison.notes)


def test_a_corpus_figure_is_tested_by_the_mean_sample_score(tmp_path):
    skewed(tmp_path, monitor="val/score")
    for path in tmp_path.glob("*/run.json"):
        record = json.loads(path.read_text())
        record["scores"]["test"]["score"] *= 50  # as a corpus figure
        path.write_text(json.dumps(record))
    comparison = compared(tmp_path)
    assert comparison.tested == "mean sample score"
    assert sheet(comparison, "paired differences").title == "paired differences of mean sample score"
    assert comparison.pairs[0].difference.interval.value == pytest.approx(0.8 - 0.7)


def test_variance_of_macro_f1_equals_that_of_resampled_images(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], 400, p=[0.7, 0.2, 0.1]).tolist()
    predictions = [label if rng.random() < 0.7 else rng.choice(["a", "b", "c"]) for label in labels]
    folder = labelled(tmp_path, "LateFusion", 0, predictions, labels)
    measured = macro_f1(RunFolder(folder).scores("test"))
    assert measured.value == pytest.approx(f1(predictions, labels))
    by_image = measured.effects.reshape(200, 2).sum(1)  # two samples of each
    drawn = []
    for _ in range(500):
        picks = rng.integers(200, size=200)
        places = np.stack([2 * picks, 2 * picks + 1]).ravel()
        drawn.append(f1([predictions[n] for n in places], [labels[n] for n in places]))
    assert np.sqrt(np.square(by_image).sum()) == pytest.approx(np.std(drawn), rel=0.08)


# Names


@pytest.mark.parametrize("moved", ["/elsewhere/daquar", "../shared/daquar", "data"])
def test_runs_on_moved_data_are_the_same_method(tmp_path, moved):
    run(
        tmp_path,
        seed=0,
        data__dataset__init_args__root="/home/me/data/daquar",
        data__dataset__init_args__train="/a/t.json",
    )
    run(tmp_path, seed=1, data__dataset__init_args__root=moved, data__dataset__init_args__train="/b/t.json")
    (result,) = compared(tmp_path).results
    assert (result.method.name, len(result.method.runs)) == ("LateFusion", 2)


def test_names_contain_the_shortest_unique_end_of_a_path(tmp_path):
    for path in ("/home/me/a/model", "/home/me/b/model", "/home/me/b/other"):
        run(tmp_path, model__init_args__text_encoder__name=path)
    names = {result.method.name for result in compared(tmp_path).results}
    assert names == {"LateFusion · name=a/model", "LateFusion · name=b/model", "LateFusion · name=b/other"}


def test_checkpoints_in_a_list_are_named_by_their_method(tmp_path):
    for seed in range(2):
        path = f"/elsewhere/runs/pretrain/latefusion-s{seed}-0a{seed}b2c/checkpoints/best.ckpt"
        run(tmp_path, seed=seed, model__init_args__init_from=[path])
        run(tmp_path, "LateFusion", seed, model__init_args__init_from=["/elsewhere/x.ckpt"])
    names = {result.method.name: len(result.method.runs) for result in compared(tmp_path).results}
    assert names == {"LateFusion · init_from=['pretrain/latefusion']": 2, "LateFusion · init_from=['x.ckpt']": 2}


# End to end: equally good methods, and the verdicts of the tables

IMAGES = 30


def drawn(folder, rng, methods, seeds):
    """Write runs of equally good methods: seeds of two modes, two samples per image."""
    hard = rng.normal(0, 0.3, IMAGES)
    for method in range(methods):
        difficulty = hard + rng.normal(0, 0.05, IMAGES)
        for seed in range(seeds):
            mode = 0.57 + 0.30 * (rng.random() < 0.5) + rng.normal(0, 0.015)
            values = np.repeat(mode + difficulty, 2) + rng.normal(0, 0.05, 2 * IMAGES)
            place = folder / f"m{method}-s{seed}"
            (place / "predictions").mkdir(parents=True)
            rows = [
                {"key": str(n), "group": "", "image": f"i{n // 2}", "prediction": "", "references": [], "score": value}
                for n, value in enumerate(values)
            ]
            (place / "predictions" / "test.jsonl").write_text(lines(rows))
            (place / "config.yaml").write_text(CONFIG.replace("FUSION", f"M{method}"))
            record = {"id": place.name, "status": "finished", "seed": seed, "data": {"test": "a"}}
            scores = {"test": {"score": values.mean(), "samples": len(rows)}}
            (place / "run.json").write_text(json.dumps(record | {"scores": scores}))
    return folder


CONFIG = yaml.safe_dump(config("FUSION"))


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "seeds", "most"), [(5, 2, 0.0), (2, 3, 0.055), (4, 4, 0.055)])
def test_equally_good_methods_are_rarely_called_clear(tmp_path, methods, seeds, most):
    """Rates of 20,000 draws are in test_statistics; these few check that tables from run folders follow the rule."""
    rng, draws, claimed = np.random.default_rng(number("claims")), 150, 0
    for draw in range(draws):
        comparison = compared(drawn(tmp_path / str(draw), rng, methods, seeds))
        words = [row[-1] for row in sheet(comparison, "paired").rows]
        assert [word == "clear" for word in words] == [pair.clear for pair in comparison.pairs]
        claimed += "clear" in words
    assert claimed / draws <= most
