"""The page of a comparison as a file: one that needs no network, small, with hostile texts; see also test_browser."""

import base64
import gzip
import json
import re

import pytest
from helpers.run_folders import HOSTILE, fusions, run

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.page import as_json, page, plotly_js
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.views.exports import latex, markdown, table_of_runs
from velm_lightning.compare.views.gallery import gallery
from velm_lightning.compare.views.header import commands, header

pytest.importorskip("plotly")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = fusions(tmp_path_factory.mktemp("runs"))
    run(folder, "LateFusion", 0, 0.55, optimizer__lr=1e-3)
    return compare(*read_runs([folder]))


@pytest.fixture(scope="module")
def text(comparison):
    return page(comparison, f"Fusions {HOSTILE}")


def held(text, name):
    """The compressed content of a page."""
    return gzip.decompress(base64.b64decode(re.search(f'id="{name}">([^<]*)<', text)[1])).decode()


def test_the_data_are_compressed_and_cannot_end_their_script(text, comparison):
    data = json.loads(held(text, "data"))
    assert data["title"] == f"Fusions {HOSTILE}"
    assert HOSTILE not in text
    assert data["files"]["tables.tex"] == latex(comparison)
    assert held(text, "plotly") == plotly_js()
    assert len(text) < 2_500_000, "plotly alone has 4.8 MB"


def test_infinite_numbers_are_null():
    assert json.loads(as_json({"b": [float("nan"), float("inf"), 1.5]})) == {"b": [None, None, 1.5]}


def test_a_page_of_the_same_runs_is_the_same(text, comparison):
    assert page(comparison, f"Fusions {HOSTILE}") == text


def test_the_page_loads_nothing_from_elsewhere(text):
    document = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)=", document)
    assert "default-src 'none'" in document


def test_the_gallery_has_one_card_per_image_with_all_methods(comparison):
    predictions = gallery(comparison)
    assert len(predictions["methods"]) == 4
    assert len(predictions["cards"]) == len(predictions["pictures"]) == 10, "the images kept"
    assert all(len(card["samples"]) == 4 for card in predictions["cards"]), "the questions about an image"
    assert all(len(sample["predictions"]) == 4 for card in predictions["cards"] for sample in card["samples"])
    assert predictions["right"] == 0.5


def test_samples_with_maps_are_first_and_of_all_methods(tmp_path):
    folders = [run(tmp_path, "EarlyFusion"), run(tmp_path, "LateFusion")]
    (folders[0] / "predictions" / "test.maps.jsonl").write_text(
        json.dumps({"key": "004-2", "image": "004-0", "evidence": [[1.0, 0.0]]}) + "\n"
    )
    cards = {card["image"]: card for card in gallery(compare(*read_runs([tmp_path])))["cards"]}
    first, second, *_ = cards["004-0"]["samples"]
    assert first["prompt"] == "question 2 of picture 4"
    assert sorted(map(str, first["maps"])) == ["None", "{'evidence': [[1.0, 0.0]]}"]
    assert second["maps"] is None


@pytest.mark.parametrize("cells", [[[]], [[1], [1, 2]], [["a"]], 3, [None]])
def test_maps_that_are_no_grids_leave_the_run_out(tmp_path, cells):
    folders = [run(tmp_path, "EarlyFusion"), run(tmp_path, "LateFusion")]
    row = {"key": "004-2", "image": "004-0", "evidence": cells}
    (folders[0] / "predictions" / "test.maps.jsonl").write_text(json.dumps(row) + "\n")
    _, (left,) = read_runs([tmp_path], drawn=True)
    assert "rows that are not maps" in left.why


def test_long_names_in_plots_are_cut_and_stay_unique(tmp_path):
    for rate in (0.1, 0.2):
        run(tmp_path, optimizer__a_setting_with_a_name_that_leaves_no_room_for_bars=rate)
    comparison = compare(*read_runs([tmp_path]))
    (bars, *_) = panels(comparison)
    labels = bars.variants["score"]["data"][0]["y"]
    assert len(set(labels)) == 2
    assert all(len(label) < 50 for label in labels)


def test_costs_that_no_run_has_are_no_columns(tmp_path):
    run(tmp_path, record={"peak_memory_mib": None})
    head = json.loads(held(page(compare(*read_runs([tmp_path])), ""), "data"))["runs"]["head"]
    assert "peak MiB" not in head
    assert "samples/s" in head


def test_runs_without_pictures_have_no_gallery(tmp_path):
    folder = run(tmp_path)
    (folder / "predictions" / "test.pictures.jsonl").unlink()
    assert gallery(compare(*read_runs([tmp_path]))) is None


def test_the_head_names_data_numbers_and_versions(comparison):
    entries = dict(header(comparison))
    assert (entries["split"], entries["samples"], entries["images"], entries["seeds"]) == (
        "test",
        "160",
        "40",
        "0, 1, 2",
    )
    assert entries["scored by"] == "exact match"


def test_commands_are_shown_as_a_user_types_them(tmp_path):
    run(tmp_path, record={"command": ["/x/velm_lightning/__main__.py", "fit", "--config", "a b.yaml"]})
    runs, _ = read_runs([tmp_path])
    assert commands(runs) == ["velm fit --config 'a b.yaml'"]


def test_the_page_holds_its_tables_as_files(text, comparison):
    files = json.loads(held(text, "data"))["files"]
    assert list(files.values()) == [table_of_runs(comparison), latex(comparison), markdown(comparison)]
