"""What a comparison gives away: LaTeX that a parser and an engine accept, links, and the table of settings."""

import shutil
import subprocess

import pytest
from helpers.run_folders import HOSTILE, fusions, run
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexMacroNode, LatexSpecialsNode, LatexWalker

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.figures import panels
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import sheets
from velm_lightning.compare.views.exports import latex
from velm_lightning.compare.views.links import links
from velm_lightning.compare.views.sections import sections

NASTY = [HOSTILE, r"a & b \ % $x_1^2$ # {~} ± … —", "]", "[x]", "Größe 図", "\\end{tabular}", "-- ' `` \""]


def compared(folder):
    return compare(*read_runs([folder]))


@pytest.fixture
def nasty(tmp_path):
    for note in NASTY:
        run(tmp_path, "LateFusion", tracking__note=note, model__init_args__task__note=note)
    return compared(tmp_path)


# LaTeX


def cells(nodes):
    """The number of cells of each line of a tabular."""
    lines = [1]
    for node in nodes:
        if isinstance(node, LatexSpecialsNode) and node.specials_chars == "&":
            lines[-1] += 1
        elif isinstance(node, LatexMacroNode) and node.macroname == "\\":
            lines.append(1)
    return lines[:-1]


def test_a_parser_reads_every_table(nasty):
    nodes, *_ = LatexWalker(latex(nasty), tolerant_parsing=False).get_latex_nodes()
    tables = [node for node in nodes if isinstance(node, LatexEnvironmentNode)]
    assert [table.environmentname for table in tables] == ["tabular"] * len(sheets(nasty))
    for table, sheet in zip(tables, sheets(nasty), strict=True):
        assert cells(table.nodelist) == [len(sheet.head)] * (1 + len(sheet.rows))


ENGINE = next(filter(None, map(shutil.which, ("tectonic", "xelatex", "lualatex", "pdflatex"))), None)


@pytest.mark.slow
@pytest.mark.skipif(ENGINE is None, reason="no LaTeX engine here")
def test_an_engine_compiles_the_tables(tmp_path):
    text = latex(compared(fusions(tmp_path / "runs")))
    file = tmp_path / "tables.tex"
    file.write_text(rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}")
    words = [
        str(ENGINE),
        *([] if "tectonic" in str(ENGINE) else ["-interaction=nonstopmode", "-halt-on-error"]),
        file.name,
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# Links


def test_runs_link_to_folders_and_checkpoints_from_the_page(tmp_path):
    made = run(tmp_path / "runs", "LateFusion")
    (made / "checkpoints").mkdir()
    (made / "checkpoints" / "best.ckpt").touch()
    ((ident, found),) = links(compared(tmp_path / "runs").runs, tmp_path / "pages")
    assert ident == made.name
    assert found == [
        (made.name, f"./../runs/{made.name}"),
        ("best.ckpt", f"./../runs/{made.name}/checkpoints/best.ckpt"),
    ]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://wandb.ai/me/p/runs/x", "W&B"),
        ("https://wandb.ai@theirs.example/x", "W&B at theirs.example"),
        ("https://[broken", None),
        ("javascript:alert(1)", None),
        (3, None),
        (None, None),
    ],
)
def test_only_addresses_of_servers_are_links(tmp_path, address, shown):
    run(tmp_path, record={"wandb": address})
    runs = compared(tmp_path).runs
    assert links(runs, None) == ([(runs[0].ident, [(shown, address)])] if shown else [])


def test_a_folder_is_never_a_scheme(tmp_path):
    made = run(tmp_path / "javascript:alert(1)", "LateFusion")
    ((_, found),) = links(compared(made).runs, tmp_path)
    assert found[0][1].startswith("./javascript%3Aalert")


# Settings


def table(comparison):
    return next((sheet for sheet in sheets(comparison) if sheet.title.startswith("settings")), None)


def test_the_table_holds_only_settings_that_differ(tmp_path):
    run(tmp_path, "LateFusion", data__batch_size=32, model__init_args__merge="gate")
    run(tmp_path, "LateFusion", data__batch_size=64, model__init_args__merge="sum")
    run(tmp_path, "EarlyFusion", data__batch_size=64)
    sheet = table(compared(tmp_path))
    assert set(sheet.head) == {"method", "batch_size", "merge"}
    found = {row[0].partition(" ")[0]: dict(zip(sheet.head, row, strict=True)) for row in sheet.rows}
    assert found["EarlyFusion"]["merge"] == "—"


def test_fusions_without_other_settings_have_no_such_table(tmp_path):
    assert table(compared(fusions(tmp_path))) is None


def plotted(comparison):
    return any(panel.title == "Settings" for panel in panels(comparison))


def test_parallel_axes_are_settings_that_all_methods_have(tmp_path):
    for size in (16, 32, 64):
        run(tmp_path, "LateFusion", data__batch_size=size)
    assert plotted(compared(tmp_path))
    axes = next(panel for panel in panels(compared(tmp_path)) if panel.title == "Settings").variants["settings"]
    assert axes["layout"]["xaxis"]["ticktext"][0] == "batch_size"


def test_methods_without_common_settings_have_no_parallel_axes(tmp_path):
    run(tmp_path, "LateFusion", model__init_args__merge="gate")
    run(tmp_path, "LateFusion", model__init_args__merge="sum")
    run(tmp_path, "EarlyFusion", model__init_args__join=1)
    assert not plotted(compared(tmp_path))


# Two data sets


def test_two_data_sets_are_two_sections_everywhere(tmp_path):
    for seed in range(3):
        for data, fusion, right in (("x", "LateFusion", 0.9), ("x", "TextOnly", 0.4), ("y", "EarlyFusion", 0.6)):
            run(tmp_path, fusion, seed, right, record={"data": {"test": data}})
    comparison = compared(tmp_path)
    assert len(sections(comparison)) == 2
    for sheet in sheets(comparison):
        methods = {row[0].partition(" ")[0] for row in sheet.rows}
        assert not ({"LateFusion", "TextOnly"} & methods and "EarlyFusion" in methods), sheet.title
        assert "data set" in sheet.title
    assert all("data set" in panel.title for panel in panels(comparison))
