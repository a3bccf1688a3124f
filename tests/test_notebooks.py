"""The notebooks in `examples` run from top to bottom in an empty folder, and are stored without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
LAST = {"first_comparison.ipynb": "'best.ckpt'", "own_data_and_fusion.ipynb": "Answer(text='green'"}
"""A part of the output of the last cell of code."""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_outputs(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the notebook client
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name, tmp_path):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = [output.get("text", "") for cell in cells for output in cell.outputs]
    assert "Traceback" not in "".join(texts)
    assert LAST[name] in cells[-1].outputs[0]["data"]["text/plain"]
