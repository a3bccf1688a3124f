"""The public names: loaded on first use, never replaced by a folder, each with an example that runs."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

import velm_lightning as velm
from velm_lightning.tracking.quiet import quiet

NAMES = [name for name in velm.__all__ if name != "__version__"]
SOURCE = ast.parse(Path(velm.__file__).read_text("utf-8"))
TRAINING = {"velm_lightning", "fit", "load", "compare_runs", "RunRecorder"}


def test_importing_the_package_loads_nothing_heavy():
    script = "import sys, velm_lightning as velm; print(*sys.modules); assert 'fit' in dir(velm)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "transformers", "numpy", "yaml", "PIL"} & set(done.stdout.split())


def test_there_are_about_thirty_names_and_a_version():
    assert 25 <= len(NAMES) <= 45
    assert velm.__version__ == version("velm-lightning")
    assert sorted(velm.__all__) == velm.__all__
    assert set(velm.__all__) <= set(dir(velm))


def test_type_checkers_see_the_names_that_are_loaded():
    block = next(node for node in SOURCE.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen == {name: f"velm_lightning.{module}" for name, module in velm._MODULES.items()}
    assert set(NAMES) == set(seen)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'velm_lightning' has no attribute 'nothing'"):
        velm.nothing  # noqa: B018


def test_no_name_is_replaced_when_a_module_is_imported():
    before = {name: getattr(velm, name) for name in NAMES}
    for module in pkgutil.walk_packages(velm.__path__, "velm_lightning."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert all(getattr(velm, name) is value for name, value in before.items())
    assert not set(NAMES) & {module.name for module in pkgutil.iter_modules(velm.__path__)}


class Unchecked(doctest.OutputChecker):
    """Compares the output of examples that show one; others may print what they like."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


def examples(name):
    """The examples of a public name, those of its public methods included."""
    found = velm if name == "velm_lightning" else getattr(velm, name)
    finder = doctest.DocTestFinder(recurse=name != "velm_lightning")
    return [test for test in finder.find(found, name, globs={}) if test.examples]


def run(name, tests, folder, monkeypatch):
    monkeypatch.chdir(folder)
    runner = doctest.DocTestRunner(Unchecked(), verbose=False)
    report = []
    with warnings.catch_warnings():
        quiet()
        for test in tests:
            runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAINING])
def test_every_name_has_an_example_that_runs(name, tmp_path, monkeypatch):
    tests = examples(name)
    assert any(test.name == name for test in tests), f"{name} has no Example"
    run(name, tests, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRAINING))
def test_every_example_that_trains_runs(name, tmp_path, monkeypatch):
    tests = examples(name)
    assert tests, f"{name} has no Example"
    run(name, tests, tmp_path, monkeypatch)


def test_the_examples_of_predictions_and_features_run(tmp_path, monkeypatch):
    from velm_lightning.fusion.inference import Inference

    tests = [test for test in doctest.DocTestFinder().find(Inference, "Inference", globs={}) if test.examples]
    assert len(tests) == 3
    run("Inference", tests, tmp_path, monkeypatch)
