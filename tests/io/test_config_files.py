"""A config file is found in the working directory, then in the package, then in the checkout."""

import tomllib
from pathlib import Path

import pytest

from velm_lightning.errors import InputError
from velm_lightning.io.config_files import WHEEL_FOLDERS, find_config, find_in_word, named_files, packaged_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one experiment and one sweep, next to an unrelated folder named conf."""
    package = tmp_path / "site-packages" / "velm_lightning"
    for name in ("configs/a.yaml", "configs/data/d.yaml", "sweep_files/s.yaml", "../conf/foreign.yaml"):
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("seed_everything: 1\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return package


def test_the_package_has_what_the_working_directory_lacks(package):
    assert find_config("conf/a.yaml", package) == package / "configs" / "a.yaml"
    assert find_config("./conf/data/d.yaml", package) == package / "configs" / "data" / "d.yaml"
    assert find_config("sweeps/s.yaml", package) == package / "sweep_files" / "s.yaml"


def test_the_working_directory_comes_first(package):
    Path("conf").mkdir()
    Path("conf/a.yaml").touch()
    assert find_config("conf/a.yaml", package) == Path("conf/a.yaml")


@pytest.mark.parametrize(
    "name",
    ["conf/b.yaml", "conf/foreign.yaml", "a.yaml", "configs/a.yaml", "conf/../conf/a.yaml", "", "conf", "x" * 500],
)
def test_other_names_stay_as_they_are(package, name):
    assert find_config(name, package) == Path(name)
    assert packaged_config(name, package) is None


def test_an_editable_install_finds_the_checkout(package):
    (package.parent / "pyproject.toml").touch()
    assert find_config("conf/foreign.yaml", package) == package.parent / "conf" / "foreign.yaml"
    assert find_config("conf/a.yaml", package) == package / "configs" / "a.yaml"


def test_words_of_a_command_line_are_replaced(package):
    config = package / "configs" / "a.yaml"
    assert find_in_word("conf/a.yaml", package) == (str(config), config)
    assert find_in_word("--data=conf/a.yaml", package) == (f"--data={config}", config)
    for word in ("fit", "--config", "--data=3", "conf", "conf/none.yaml", "--tracking.runs=conf"):
        assert find_in_word(word, package) == (word, None)


def test_the_wheel_holds_every_config_and_sweep(monkeypatch, tmp_path):
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    included = {ROOT / source: target for source, target in wheel["force-include"].items()}
    assert included == {ROOT / source: f"velm_lightning/{target}" for source, target in WHEEL_FOLDERS.items()}
    folders = {path.parent for path in ROOT.glob("*/*.yaml") if not path.parent.name.startswith(".")}
    assert folders <= set(included)
    monkeypatch.chdir(tmp_path)
    paths = [path for folder in included for path in folder.rglob("*.yaml")]
    assert all(find_config(path.relative_to(ROOT)).read_bytes() == path.read_bytes() for path in paths)


def test_named_files_are_followed(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "a.yaml").write_text("data: parts/b.yaml\nmodel: [{encoder: parts/b.yaml}, none.yaml, 3]\n")
    (tmp_path / "parts" / "b.yaml").write_text("c: c.yaml\n")
    (tmp_path / "parts" / "c.yaml").write_text("back: b.yaml\n")
    assert [path.name for path in named_files(tmp_path / "a.yaml")] == ["b.yaml", "c.yaml"]
    (tmp_path / "parts" / "c.yaml").write_text("[")
    with pytest.raises(InputError, match=r"c\.yaml:\d+: not YAML"):
        list(named_files(tmp_path / "a.yaml"))
