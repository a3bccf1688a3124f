"""Groups of samples: tests against every control, equal answers, and groups that are found if the data name none."""

import json
from itertools import product

import numpy as np
import pytest
from helpers.run_folders import lines, run

from velm_lightning.bench.simulation import Truth, drawn_spreads, normal, two_modes
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.samples.group_tables import verdict
from velm_lightning.compare.samples.group_tests import least_seeds_of_groups
from velm_lightning.compare.statistics import family_p
from velm_lightning.compare.tables import sheets

RIGHT = {
    "LateFusion": {"count": 0.9, "yes/no": 0.5},
    "TextOnly": {"count": 0.3, "yes/no": 0.5},
    "ImageOnly": {"count": 0.2, "yes/no": 0.2},
}


def answered(folder, fusion, seed, right, samples=120, **fields):
    """A run that answers a share of each group correctly; methods with equal shares answer alike."""
    made = run(folder, fusion, seed)
    rows = []
    for place, (number, group) in enumerate(product(range(samples), right)):
        chance = np.random.default_rng([seed, place]).random()
        good = chance < right[group]
        rows.append(
            {"key": f"{place:04d}", "group": group, "image": f"i{number}", "prediction": "yes" if good else "no"}
            | {"references": ["yes"], "score": float(good), "prompt": "", "confidence": 0.9, "loss": 0.1}
            | {name: value(place) for name, value in fields.items()}
        )
    (made / "predictions" / "test.jsonl").write_text(lines(rows))
    record = json.loads((made / "run.json").read_text())
    record["scores"]["test"] = {"score": np.mean([row["score"] for row in rows]), "samples": len(rows)}
    (made / "run.json").write_text(json.dumps(record))
    return made


def compared(folder, seeds=4, right=RIGHT, **fields):
    for fusion, seed in product(right, range(seeds)):
        answered(folder, fusion, seed, right[fusion], **fields)
    return compare(*read_runs([folder]))


def verdicts(comparison):
    return {(test.group, test.method.method.name): verdict(test) for test in comparison.groups}


def test_a_method_is_tested_against_both_controls_per_group(tmp_path):
    comparison = compared(tmp_path)
    assert verdicts(comparison)["count", "LateFusion"] == "better than every control"
    (table,) = (sheet for sheet in sheets(comparison) if sheet.title.startswith("groups against every control"))
    assert [name for name in table.head if name.startswith("less")] == ["less TextOnly [95 %]", "less ImageOnly [95 %]"]
    assert "Family: every method on every group" in table.caption


def test_equal_answers_are_the_first_note(tmp_path):
    comparison = compared(tmp_path)
    assert verdicts(comparison)["yes/no", "LateFusion"] == "identical to TextOnly"
    assert comparison.notes[0] == "LateFusion is identical to TextOnly on yes/no (100 % of 120 answers)."


def test_a_group_is_tested_whole_and_in_its_parts(tmp_path):
    """As `text to image / colour` of a retrieval."""
    parts = {"to image / colour": 0.9, "to image / count": 0.6}
    comparison = compared(tmp_path, right={"LateFusion": parts, "TextOnly": {**parts, "to image / colour": 0.1}})
    samples = {test.group: test.against[0].agreement.samples for test in comparison.groups}
    assert samples == {"to image": 240, "to image / colour": 120, "to image / count": 120}
    assert verdicts(comparison)["to image / count", "LateFusion"] == "identical to TextOnly"
    assert comparison.notes[0] == "LateFusion is identical to TextOnly on to image / count (100 % of 120 answers)."


def test_answers_of_a_group_count_once_in_the_note(tmp_path):
    parts = {"to image / colour": 0.9, "to image / count": 0.6}
    note = compared(tmp_path, right={"LateFusion": parts, "TextOnly": parts}).notes[0]
    assert note == "LateFusion is identical to TextOnly on to image (100 % of 240 answers)."


def test_samples_that_are_all_in_one_part_are_tested_once(tmp_path):
    """A name with a slash is no reason to test its samples twice."""
    right = {"LateFusion": {"and / or": 0.9, "yes/no": 0.5}, "TextOnly": {"and / or": 0.3, "yes/no": 0.5}}
    comparison = compared(tmp_path, right=right)
    assert sorted(test.group for test in comparison.groups) == ["and / or", "yes/no"]
    assert list(comparison.results[0].groups) == ["and / or", "yes/no"]


def test_the_claim_is_about_the_better_control(tmp_path):
    """Far better than one control and equal to the other is no claim."""
    right = {"LateFusion": {"g": 0.6}, "TextOnly": {"g": 0.61}, "ImageOnly": {"g": 0.1}}
    (test,) = compared(tmp_path, right=right).groups
    assert test.p == 1.0
    assert {other.control.method.name: other.difference.p < 0.01 for other in test.against}["ImageOnly"]


@pytest.mark.parametrize(("seeds", "samples"), [(2, 120), (4, 5)])
def test_few_seeds_or_images_allow_no_claim(tmp_path, seeds, samples):
    (test,) = compared(tmp_path, seeds, {"LateFusion": {"g": 0.95}, "TextOnly": {"g": 0.05}}, samples=samples).groups
    assert np.isnan(test.p)
    assert "too few seeds or images" in verdict(test)


def test_without_controls_groups_are_not_tested(tmp_path):
    assert compared(tmp_path, right={"LateFusion": {"g": 0.9}, "EarlyFusion": {"g": 0.1}}).groups == []


@pytest.mark.parametrize(("tests", "seeds"), [(1, 3), (2, 4), (6, 4), (7, 5), (25, 5), (26, 6), (102, 6)])
def test_claims_need_seeds_by_the_number_of_tests(tests, seeds):
    assert least_seeds_of_groups(tests) == seeds


def test_agreement_is_the_share_of_equal_answers(tmp_path):
    comparison = compared(tmp_path, right={"LateFusion": {"g": 1.0}, "TextOnly": {"g": 0.0}, "Bag": {"g": 1.0}})
    assert comparison.agreement["LateFusion", "TextOnly"] == 0
    assert comparison.agreement["LateFusion", "Bag"] == 1
    assert comparison.agreement["TextOnly", "TextOnly"] == 1, "its seeds answer alike"


# Groups that are found

NOTHING = {"LateFusion": {"": 0.8}, "TextOnly": {"": 0.4}}


@pytest.mark.parametrize(
    ("fields", "how", "groups"),
    [
        ({"references": lambda n: [("yes", "3")[n % 2]]}, "the type of the answer", {"yes/no", "number"}),
        ({"prompt": lambda n: ("What is it?", "where?", "Who?")[n % 3]}, "the first word", {"what", "where", "who"}),
        (
            {"references": lambda n: [" ".join("abcdefghi"[: 4 + n % 3])]},
            "the length of the reference",
            {"up to 5 words", "6 words"},
        ),
    ],
)
def test_groups_are_found_if_the_data_name_none(tmp_path, fields, how, groups):
    comparison = compared(tmp_path, right=NOTHING, **fields)
    assert comparison.grouped_by.startswith(how)
    assert {test.group for test in comparison.groups} == groups
    assert any("The data name no groups" in sheet.caption for sheet in sheets(comparison))


def test_samples_of_one_kind_have_no_groups(tmp_path):
    comparison = compared(tmp_path, right=NOTHING)
    assert (comparison.grouped_by, comparison.groups) == ("", [])


# The family-wise error, simulated


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal(1.0), two_modes(0.5), two_modes(0.2)], ids=["normal", "1:1", "1:4"])
@pytest.mark.parametrize(("groups", "methods", "seeds"), [(1, 1, 3), (3, 2, 4), (5, 3, 5), (8, 3, 5)])
def test_false_claims_about_groups_stay_below_5_per_cent(draw, groups, methods, seeds):
    """Equally good methods and two controls; every group is learned, or not, by itself."""
    assert least_seeds_of_groups(groups * methods) == seeds
    pairs = [(method, methods + control) for method in range(methods) for control in range(2)]
    truth = Truth([draw] * (methods + 2), [seeds] * (methods + 2), [0.0] * (methods + 2), 0.5)
    rng, claims = np.random.default_rng(0), []
    for _ in range(10):
        p = np.empty((200, groups, methods))
        for group in range(groups):
            spreads = drawn_spreads(truth, pairs, 200, rng)
            single = np.stack([np.where(each.value > 0, each.p(), 1.0) for each in spreads], -1)
            p[:, group] = single.reshape(200, methods, 2).max(-1)
        family = family_p(p.reshape(200, -1), [seeds] * (groups * methods), seeds)
        claims.append((family < 0.05).any(-1))
    assert np.mean(claims) <= 0.05
