"""A real Chromium opens the page of a comparison and uses it: filters, sorting, zoom, themes, a phone, 200 runs."""

import json
import time

import pytest
from helpers.browser import BROWSER, Browser
from helpers.run_folders import HOSTILE, fusions, jpeg, lines, number, rows, run

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.page import page
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.views.gallery import gallery

pytest.importorskip("plotly")
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
]
BUILT = "document.body.classList.contains('built') && window.Plotly"
WIDE = (1280, 900)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Ten runs with hostile texts, and maps for two of the methods."""
    folder = fusions(tmp_path_factory.mktemp("runs"))
    other = run(folder, "LateFusion", 0, 0.55, optimizer__lr=1e-3)
    for path, cells in ((other, [[0.0, 0.0], [0.0, 3.0]]), (next(folder.glob("inter*-s0-*")), [[1e-9, 0.0]] * 2)):
        maps = [{"key": "000-0", "image": "000-0", "evidence": cells, "attention": [[0.25, 0.25], [0.25, 0.25]]}]
        (path / "predictions" / "test.maps.jsonl").write_text(lines(maps))
    return folder


@pytest.fixture(scope="module")
def comparison(runs):
    return compare(*read_runs([runs]))


@pytest.fixture(scope="module")
def file(comparison, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page(comparison, f"Fusions {HOSTILE}"), "utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    """The page in a wide window, without errors before and after a test."""
    browser.size(*WIDE)
    browser.errors.clear()
    browser.open(f"file://{file}", BUILT)
    yield browser
    assert not browser.errors


def test_ten_runs_are_a_page_below_5_mb_that_draws_all_plots(opened, file, comparison):
    assert file.stat().st_size < 5_000_000
    titles = opened.run("Array.from(document.querySelectorAll('h2'), node => node.textContent)")
    plots = {"Scores", "Curves", "Score against cost", "Groups", "Reliability", "Score by budget"}
    assert plots | {"About", "Notes", "Runs", "Predictions"} <= set(titles)
    for place in range(opened.run("document.querySelectorAll('.plot').length")):
        opened.run(f"document.querySelectorAll('.plot')[{place}].scrollIntoView()")
        opened.wait(f"document.querySelectorAll('.plot')[{place}].classList.contains('js-plotly-plot')")


def test_hostile_texts_are_texts(opened):
    assert opened.run("document.querySelectorAll('img[src=x]').length") == 0
    assert opened.run("document.title") == f"Fusions {HOSTILE}"
    opened.choose("#search", HOSTILE)
    assert opened.run("document.querySelector('.prompt').textContent") == HOSTILE


def test_the_gallery_filters_and_shows_errors_first(opened, comparison):
    cards = gallery(comparison)["cards"]
    pairs = [[(s["predictions"][0][1], s["predictions"][1][1]) for s in card["samples"]] for card in cards]
    everything = "40 of 40 samples, 10 of 10 images"
    assert opened.run("document.querySelector('#count').textContent") == everything
    wrong = [sum(a < 0.5 for a, _ in card) for card in pairs]
    first = opened.run("document.querySelectorAll('.card')[0].querySelectorAll('.sample .wrong:nth-child(3)').length")
    assert first == min(3, max(wrong))
    opened.choose("#which", 1)  # A right, B wrong
    kept = [sum(a >= 0.5 > b for a, b in card) for card in pairs]
    text = f"{sum(kept)} of 40 samples, {sum(map(bool, kept))} of 10 images"
    assert 0 < sum(kept) < 40
    assert opened.run("document.querySelector('#count').textContent") == text
    opened.choose("#which", 0)
    opened.choose("#group", 1)
    assert opened.run("document.querySelector('#count').textContent").startswith("20 of 40 samples")


def test_the_gallery_filters_groups_and_answers_without_score(browser, tmp_path):
    """A group includes its parts; an answer without a score is neither right nor wrong."""
    for seed in range(3):
        path = run(tmp_path / "runs", "LateFusion", seed) / "predictions" / "test.jsonl"
        table = [json.loads(line) for line in path.read_text().splitlines()]
        for place, row in enumerate(table):
            row |= {"group": f"{('to image', 'to text')[place % 2]} / {('count', 'colour')[place // 2 % 2]}"}
            row |= {"references": [], "score": None} if place < 4 else {"score": 0.0}
        path.write_text(lines(table))
    file = tmp_path / "page.html"
    file.write_text(page(compare(*read_runs([tmp_path / "runs"])), "groups"), "utf-8")
    browser.size(*WIDE)
    browser.open(f"file://{file}", BUILT)
    names = browser.run("Array.from(document.querySelectorAll('#group option'), node => node.textContent)")
    assert {"to image", "to image / count", "to text"} <= set(names)
    count = "document.querySelector('#count').textContent"
    browser.choose("#group", names.index("to image"))
    assert browser.run(count).startswith("20 of 40 samples")
    browser.choose("#group", 0)
    browser.choose("#which", 3)  # both wrong
    assert browser.run(count).startswith("36 of 40 samples")


def test_a_click_opens_the_image_with_all_answers_and_maps(opened, comparison):
    opened.choose("#search", HOSTILE)
    opened.click(".open")
    opened.wait("document.querySelector('#zoom').open")
    methods = gallery(comparison)["methods"]
    assert opened.run("document.querySelectorAll('#zoom .sample')[0].querySelectorAll('figure').length") == len(methods)
    captions = opened.run("Array.from(document.querySelectorAll('#zoom .scale'), node => node.textContent)")
    assert sorted(captions) == ["faded 0clear 3.0", "no evidence", "not stored", "not stored"]
    assert opened.run("document.querySelectorAll('#zoom canvas').length") == 1, "noise is not stretched"
    opened.choose("#zoom select", 1)
    assert opened.run("document.querySelector('#zoom .looks').textContent").count("even attention") == 2
    opened.click("#zoom .close")
    opened.wait("!document.querySelector('#zoom').open")


def test_runs_are_sorted_by_a_click_and_filtered_by_text(opened):
    column = "Array.from(document.querySelectorAll('#filter'))[0].closest('section').querySelectorAll('tbody tr')"
    scores = f"Array.from({column}, row => Number(row.children[4].textContent))"
    name = "document.querySelector('#filter').closest('section').querySelectorAll('th')[4]"
    opened.run(f"{name}.id = 'score'")
    opened.click("#score")
    rising = opened.run(scores)
    assert rising == sorted(rising)
    opened.click("#score")
    assert opened.run(scores) == rising[::-1]
    opened.choose("#filter", "textonly")
    assert opened.run(f"{column}.length") == 3


def test_the_theme_follows_the_system_and_a_click(browser, file):
    browser.size(*WIDE, scheme="dark")
    browser.open(f"file://{file}", BUILT)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert browser.run(ground) == "rgb(18, 22, 29)"
    browser.click("#theme")
    assert browser.run(ground) == "rgb(245, 246, 248)"
    ink = "getComputedStyle(document.querySelector('.plot .ytick text')).fill"
    browser.run("document.querySelector('.plot').scrollIntoView()")
    browser.wait("document.querySelector('.plot .ytick text')")
    browser.wait(f"{ink} === 'rgb(29, 36, 48)'")


def test_a_phone_shows_the_page_without_scrolling_sideways(browser, file):
    browser.size(400, 800)
    browser.open(f"file://{file}", BUILT)
    for place in range(browser.run("document.querySelectorAll('.plot').length")):
        browser.run(f"document.querySelectorAll('.plot')[{place}].scrollIntoView()")
        browser.wait(f"document.querySelectorAll('.plot')[{place}].classList.contains('js-plotly-plot')")
    assert browser.run("document.documentElement.scrollWidth") == 400
    browser.click(".open")
    browser.wait("document.querySelector('#zoom').open")
    assert browser.run("document.querySelector('#zoom').scrollWidth") <= 400


def large(folder, count=200, samples=200):
    """200 runs as long trainings leave them: 12 logged figures of 300 steps, 800 predictions, 200 images of 6 kB."""
    for place in range(count):
        fusion = ("EarlyFusion", "InteractiveFusion", "LateFusion", "TextOnly")[place % 4]
        path = run(folder, fusion, place // 40, 0.5 + 0.01 * (place % 7), optimizer__lr=1e-4 * (1 + place % 40 // 4))
        names = ["val/score", "train/loss", *(f"train/figure{at}" for at in range(10))]
        values = [",".join(str(number(f"{name}{place}{step}") / 2**32) for name in names) for step in range(300)]
        text = [f"{50 * step},{of_step}" for step, of_step in enumerate(values)]
        (path / "metrics.csv").write_text("\n".join([",".join(["step", *names]), *text]) + "\n")
        table = rows(0.6, place, samples)
        (path / "predictions" / "test.jsonl").write_text(lines(table))
        record = json.loads((path / "run.json").read_text())
        score = sum(row["score"] for row in table) / len(table)
        record["scores"]["test"] = {"score": score, "accuracy": score, "loss": 0.5, "samples": len(table)}
        record["steps"] = 20_000
        (path / "run.json").write_text(json.dumps(record))
        pictures = [{"image": f"{image:03d}-0", "jpeg": jpeg(image, 160, noise=True)} for image in range(samples)]
        (path / "predictions" / "test.pictures.jsonl").write_text(lines(pictures) if place < 4 else "")
    return folder


def test_200_runs_open_at_once_in_less_than_20_mb(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page(compare(*read_runs([large(tmp_path / "runs")])), "200 runs"), "utf-8")
    browser.size(*WIDE)
    browser.errors.clear()
    start = time.monotonic()
    browser.open(f"file://{path}", "document.body.classList.contains('built')")
    print(f"{path.stat().st_size / 1e6:.1f} MB, built after {time.monotonic() - start:.2f} s")
    browser.wait(BUILT)
    print(f"plots after {time.monotonic() - start:.2f} s")
    assert path.stat().st_size < 20_000_000
    assert browser.run("document.querySelectorAll('.js-plotly-plot').length") <= 2, "only what is near the window"
    assert not browser.errors
