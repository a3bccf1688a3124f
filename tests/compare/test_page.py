"""The dashboard in a browser: from a file, without a network, with hostile texts."""

import json
import re
import shutil
import subprocess

import pytest
from helpers.run_folders import HOSTILE, fusions, run

from velm_lightning.compare.comparison import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.page import for_script, gallery, page
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import latex, markdown, table_of_runs
from velm_lightning.compare.views.header import commands, header

pytest.importorskip("plotly")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHOOSE = """<script>
const which = document.getElementById("which");
which.value = 1; which.dispatchEvent(new Event("change"));
</script>"""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = fusions(tmp_path_factory.mktemp("runs"))
    run(folder, "LateFusion", 0, 0.55, optimizer__lr=1e-3)
    return compare(*read_runs([folder]))


@pytest.fixture(scope="module")
def text(comparison):
    return page(comparison, f"Fusions {HOSTILE}")


def opened(text, folder, *words):
    """Return the document after its scripts have run, and the errors that the browser logged."""
    path = folder / "page.html"
    path.write_text(text, "utf-8")
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={folder / 'profile'}"]
    more = ["--enable-logging=stderr", "--virtual-time-budget=3000", *words, f"file://{path}"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, [line for line in complaints if "Invalid color specifier" not in line]  # plotly to itself


def test_data_cannot_end_its_script():
    data = {"a": HOSTILE, "b": [float("nan"), float("inf"), 1.5], "c": "\u2028"}
    text = for_script(data)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": HOSTILE, "b": [None, None, 1.5], "c": "\u2028"}


def test_the_page_loads_nothing_from_elsewhere(text):
    document = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)=", document)
    assert "default-src 'none'" in document


def test_the_gallery_holds_the_predictions_of_all_methods(comparison):
    predictions = gallery(comparison)
    assert len(predictions["methods"]) == 4
    assert len(predictions["samples"]) == 40, "of each of the ten pictures kept, four questions"
    assert all(len(sample["predictions"]) == 4 for sample in predictions["samples"])
    assert predictions["right"] == 0.5


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
    text = page(compare(*read_runs([tmp_path])), "")
    assert "peak MiB" not in text
    assert "samples/s" in text


def test_runs_without_pictures_have_no_gallery(tmp_path):
    folder = run(tmp_path)
    (folder / "predictions" / "test.pictures.jsonl").unlink()
    assert gallery(compare(*read_runs([tmp_path]))) is None


@pytest.fixture(scope="module")
def rendered(text, tmp_path_factory):
    """The page rendered by Chromium, its gallery filtered to A right, B wrong."""
    if BROWSER is None:
        pytest.skip("no Chromium here")
    return opened(text + CHOOSE, tmp_path_factory.mktemp("page"), "--dump-dom")


def test_a_browser_draws_the_page_without_errors(rendered):
    document, complaints = rendered
    assert not complaints
    body = document.split("</head>")[1]
    titles = re.findall(r"<h2>(.*?)</h2>", body)
    drawn = ["Scores", "Curves", "Score against cost", "Score by group of samples", "Reliability"]
    drawn.append("Score by budget")
    assert set(drawn) <= set(titles)
    assert body.count('class="plot js-plotly-plot"') == len(drawn)
    assert '<img src="x"' not in document, "texts are shown as texts"
    assert HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in body


def test_the_gallery_filters_samples_that_a_solves_and_b_fails(rendered, comparison):
    document, _ = rendered
    predictions = [sample["predictions"] for sample in gallery(comparison)["samples"]]
    expected = sum(a[1] >= 0.5 > b[1] for a, b, *_ in predictions)
    assert 0 < expected < len(predictions)
    assert f">{expected} of {len(predictions)}</span>" in document
    assert document.count('class="card"') == expected
    assert len(re.findall(r'class="right"[^>]*>A: yes', document)) == expected
    assert len(re.findall(r'class="wrong"[^>]*>B: no', document)) == expected


DARK_ON_A_PHONE = """<script>
document.documentElement.classList.remove("dark");
document.getElementById("theme").click();
document.title = [document.documentElement.className, getComputedStyle(document.body).backgroundColor,
  document.body.scrollWidth].join(" ");
</script>"""


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
    for content in (table_of_runs(comparison), latex(comparison), markdown(comparison)):
        assert for_script(content) in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_the_page_is_dark_on_request_and_fits_a_phone(text, tmp_path):
    narrow = text.replace("</style>", "html { width: 400px; }</style>", 1)  # no window is narrower than 500
    document, complaints = opened(narrow + DARK_ON_A_PHONE, tmp_path, "--dump-dom", "--window-size=500,800")
    assert not complaints
    assert re.search(r"<title>(.*?)</title>", document)[1] == "dark rgb(18, 22, 29) 400"
