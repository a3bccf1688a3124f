"""A table of a comparison reads in a terminal of 80 columns: it is split by columns, never cut."""

import pytest
from rich.console import Console
from rich.table import Table

from velm_lightning.compare.views.sheet import Sheet, narrow

HEAD = ["method", "seeds", *(f"figure {number}" for number in range(9))]
ROWS = [
    [name, "5", *(f"0.{number}234 ± 0.0123" for number in range(9))] for name in ("LateFusion", "InteractiveFusion")
]
SHEET = Sheet("scores", HEAD, ROWS, 1, "how to read it")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_cell_is_printed_whole_within_the_width(width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - written nowhere
    for part in narrow(SHEET, width):
        table = Table(*part.head)
        for row in part.rows:
            table.add_row(*row)
        console.print(table)
    console.file.close()
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert all(cell in text for row in ROWS for cell in row)


def test_the_leading_column_is_in_every_part_and_no_figure_is_lost():
    parts = narrow(SHEET, 80)
    assert len(parts) > 1
    assert all(part.head[0] == "method" for part in parts)
    assert [name for part in parts for name in part.head[1:]] == HEAD[1:]
    assert [part.caption for part in parts] == [""] * (len(parts) - 1) + ["how to read it"]


def test_a_table_that_fits_stays_whole():
    assert narrow(SHEET, 400) == [SHEET]
