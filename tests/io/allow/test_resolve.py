"""From text to classes: who may allow a name, and that nothing is imported before."""

import json
import os
import py_compile
import sys
from importlib.util import cache_from_source
from multiprocessing import get_context
from pathlib import Path

import pytest

from velm_lightning.errors import InputError
from velm_lightning.io.allow import user_list
from velm_lightning.io.allow.allowlist import how_to_allow, network_allowed, permissions, require_network
from velm_lightning.io.allow.resolve import RefusedError, resolve
from velm_lightning.io.allow.user_list import add, entry_for, list_file, read_list, remove

CODE = "from pathlib import Path\nPath('mark').touch()\nclass Mine:\n    class Inner: pass\ndef make(): pass\n"


@pytest.fixture
def project(monkeypatch, tmp_path):
    """A working directory with a module that leaves a mark where it is imported, and a list of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "my_part.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("my_part", None)


def forget(project):
    sys.modules.pop("my_part", None)
    (project / "mark").unlink(missing_ok=True)


@pytest.mark.parametrize("path", ["my_part.Mine", "my_part.nothing.Mine", "my_part.make"])
def test_nothing_is_imported_without_a_word(project, path):
    with pytest.raises(RefusedError, match=f"{path} is code outside the allowed packages, which was not imported"):
        resolve(path)
    assert not (project / "mark").exists()


def test_the_command_line_the_environment_and_the_list_allow(project, monkeypatch):
    with permissions(["fit", "--allow=my_part"]):
        assert resolve("my_part.Mine").__name__ == "Mine"
        assert resolve("my_part.Mine.Inner").__name__ == "Inner"
    with pytest.raises(RefusedError):
        resolve("my_part.Mine")
    monkeypatch.setenv("VELM_ALLOW", "other,my_part")
    assert resolve("my_part.Mine").__name__ == "Mine"
    monkeypatch.delenv("VELM_ALLOW")
    add("my_part")
    assert resolve("my_part.Mine").__name__ == "Mine"
    assert resolve("my_part.Mine", ["my_part"]).__name__ == "Mine"
    assert [entry.name for entry in remove("my_part")] == ["my_part"]
    with pytest.raises(RefusedError):
        resolve("my_part.Mine")


def test_functions_are_allowed_by_their_full_name_only(project):
    for names, path in ((["my_part"], "my_part.make"), (["torch"], "torch.nn.functional.relu")):
        with pytest.raises(RefusedError, match=f"{path} is the function .*only classes may be named"):
            resolve(path, names)
    with pytest.raises(RefusedError, match="torch.os.system reaches the module os through torch"):
        resolve("torch.os.system", ["torch"])
    assert resolve("my_part.make", ["my_part.make"]).__name__ == "make"
    assert resolve("torch.os.system", ["torch.os.system"]).__name__ == "system"
    add("my_part.make")
    assert resolve("my_part.make").__name__ == "make"


def test_a_class_reached_through_a_package_is_refused(project):
    (project / "my_part.py").write_text("from subprocess import Popen\n")
    with pytest.raises(RefusedError, match="my_part.Popen is subprocess.Popen, a class from outside"):
        resolve("my_part.Popen", ["my_part"])
    with pytest.raises(RefusedError, match=r"lightning.pytorch.cli.Namespace is .*, a class from outside"):
        resolve("lightning.pytorch.cli.Namespace")


def test_files_of_a_project_allow_nothing(project):
    for name in (".velm", "velm", ".config/velm"):
        (project / name).mkdir(parents=True)
        (project / name / "allowed.json").write_text(json.dumps([{"name": "my_part", "folder": ".", "sha256": ""}]))
    with pytest.raises(RefusedError):
        resolve("my_part.Mine")


def test_a_changed_file_is_asked_for_again(project):
    add("my_part")
    (project / "my_part.py").write_text(CODE + "# changed\n")
    with pytest.raises(
        InputError, match="is no longer as you allowed it, and was not imported: .*`velm allow my_part`"
    ):
        resolve("my_part.Mine")
    assert not (project / "mark").exists()
    add("my_part")
    assert resolve("my_part.Mine").__name__ == "Mine"
    assert len(read_list()) == 1


def test_the_list_holds_from_other_folders_for_its_own(project, monkeypatch):
    add("my_part")
    other = project / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert resolve("my_part.Mine").__name__ == "Mine"
    (other / "my_part.py").write_text("class Mine: pass\n")
    forget(project)
    assert resolve("my_part.Mine").Inner  # still that of the folder which was allowed
    add("my_part")
    forget(project)
    assert not hasattr(resolve("my_part.Mine"), "Inner")
    monkeypatch.chdir(project.parent)
    with pytest.raises(InputError, match="call velm from the folder that you mean"):
        resolve("my_part.Mine")


def test_a_package_changes_with_any_of_its_files(project):
    package = project / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("from my_package.inner import Mine\n")
    (package / "inner.py").write_text("class Mine: pass\n")
    add("my_package")
    (package / "inner.py").write_text("class Mine: x = 1\n")
    with pytest.raises(InputError, match="no longer as you allowed it"):
        resolve("my_package.Mine")
    assert "my_package" not in sys.modules


def test_the_working_directory_hides_no_library(project):
    before = list(sys.path)
    (project / "colorsys.py").write_text("raise SystemExit('the local file was imported')\n")
    (project / "my_part.py").write_text("import colorsys\nclass Mine: source = colorsys.__file__\n")
    sys.modules.pop("colorsys", None)
    assert not resolve("my_part.Mine", ["my_part"]).source.startswith(str(project))
    assert sys.path == before


def test_a_module_that_fails_is_named_with_its_reason(project):
    (project / "my_part.py").write_text("import no_such_module\n")
    with pytest.raises(InputError, match=r"module my_part cannot be imported \(ModuleNotFoundError: .*no_such_module"):
        resolve("my_part.Mine", ["my_part"])


def test_a_name_that_does_not_exist_gets_no_command(project):
    with pytest.raises(InputError) as refused:
        resolve("my_prat.Mine")
    assert str(refused.value) == (
        "my_prat.Mine does not exist: there is no module my_prat in the working directory "
        "or among the installed packages"
    )


def test_a_damaged_list_is_named(project):
    list_file().parent.mkdir(parents=True)
    list_file().write_text("{")
    with pytest.raises(InputError, match=r"allowed\.json: is damaged"):
        resolve("my_part.Mine")


# The command line


def test_the_folder_of_a_config_is_not_searched(project, monkeypatch):
    theirs = project / "run"
    theirs.mkdir()
    (project / "my_part.py").rename(theirs / "my_part.py")
    with permissions(["fit", "--allow=my_part"]):
        monkeypatch.chdir(theirs)  # as the parser does while it reads a config of this folder
        with pytest.raises(InputError, match="class_path 'my_part.Mine' does not exist"):
            resolve("my_part.Mine")
    with permissions(["fit", "--allow=my_part"]):
        monkeypatch.chdir(project)
        assert resolve("my_part.Mine").__name__ == "Mine"


def test_options_are_taken_out_wherever_they_stand():
    with permissions(["ask", "--allow", "a,b", "x.ckpt", "--allow=c.d", "--text=--allow"]) as rest:
        assert rest == ["ask", "x.ckpt", "--text=--allow"]
        assert how_to_allow("e") == (
            "if you trust it, run `velm ask --allow a,b x.ckpt --allow=c.d --text=--allow --allow e`"
        )


@pytest.mark.parametrize("words", [["fit", "--allow"], ["fit", "--allow="], ["fit", "--allow", "--config"]])
def test_the_option_needs_a_name(words):
    with pytest.raises(InputError, match="--allow needs the name of a module"), permissions(words):
        pass


def test_the_network_is_closed_on_the_command_line_unless_it_is_allowed():
    assert network_allowed()
    with permissions(["fit", "--config", "a b.yaml"]):
        assert not network_allowed()
        with pytest.raises(
            InputError, match="x, and nothing was opened: .*`velm fit --config 'a b.yaml' --allow-network`"
        ):
            require_network("x")
    with permissions(["fit", "--allow-network"]) as rest:
        assert (rest, network_allowed()) == (["fit"], True)
    assert network_allowed()


# The list of the user


def test_two_processes_add_to_the_list_at_once(project, monkeypatch):
    """The second one adds a module while the first is between reading and writing."""
    (project / "other_part.py").write_text(CODE)
    other = get_context("fork").Process(target=add, args=("other_part",))
    write = user_list.write_atomic

    def written_late(*words):
        monkeypatch.setattr(user_list, "write_atomic", write)
        other.start()
        other.join(0.5)
        write(*words)

    monkeypatch.setattr(user_list, "write_atomic", written_late)
    add("my_part")
    other.join()
    assert {entry.name for entry in read_list()} == {"my_part", "other_part"}


def test_a_list_that_is_a_link_stays_one(project):
    list_file().parent.mkdir(parents=True)
    (project / "settings.json").write_text("[]")
    list_file().symlink_to(project / "settings.json")
    add("my_part")
    assert list_file().is_symlink()
    assert "my_part" in (project / "settings.json").read_text()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_list_that_is_no_file_is_named_and_not_replaced(project, make):
    list_file().parent.mkdir(parents=True)
    make(list_file())
    for change in (lambda: add("my_part"), lambda: remove("my_part"), read_list):
        with pytest.raises(InputError, match=r"allowed\.json: is damaged \(it is not a regular file\)"):
            change()


def test_a_list_that_cannot_be_written_is_named(project):
    list_file().parent.parent.write_text("a file instead of the folder")
    with pytest.raises(InputError, match="velm cannot be written: "):
        add("my_part")


# What an entry covers


def test_compiled_code_of_others_is_not_used(project):
    """A stranger's ``.pyc`` may have the time and size of a harmless source."""
    source, harmful = project / "my_part.py", project / "harmful.py"
    harmful.write_text(CODE + "class Mine: harm = True\n")
    source.write_text(CODE.ljust(len(harmful.read_text())))
    os.utime(harmful, (1, 1))
    os.utime(source, (1, 1))
    py_compile.compile(str(harmful), cache_from_source(str(source)), doraise=True)
    add("my_part")
    assert not hasattr(resolve("my_part.Mine"), "harm")
    forget(project)
    assert not hasattr(resolve("my_part.Mine", ["my_part"]), "harm")


def test_compiled_code_without_a_source_is_a_change(project):
    package = project / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    cache = Path(cache_from_source(str(package / "__init__.py")))
    add("my_package")
    py_compile.compile(str(package / "__init__.py"), str(cache))
    assert entry_for("my_package.extra.Mine"), "the compiled copy of a source is not imported"
    py_compile.compile(str(project / "my_part.py"), str(package / "extra.pyc"))
    with pytest.raises(InputError, match="no longer as you allowed it"):
        resolve("my_package.extra.Mine")


@pytest.mark.parametrize("cache", ["/dev/null", "relative", None])
def test_a_user_without_a_home_allows_by_option(project, monkeypatch, cache):
    """The home is missing or /dev/null; a relative folder could be a stranger's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(RefusedError, match="is code outside the allowed packages"):
        resolve("my_part.Mine")
    assert resolve("my_part.Mine", ["my_part"]).__name__ == "Mine"
    assert not (project / "relative").exists()


def _no_home():
    raise RuntimeError("Could not determine home directory.")


def test_a_file_that_moves_within_a_package_is_a_change(project):
    package = project / "my_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "part.py").write_text(CODE)
    add("my_package")
    (package / "inner").rename(package / "outer")
    with pytest.raises(InputError, match="no longer as you allowed it"):
        resolve("my_package.outer.part.Mine")


def test_a_package_with_a_linked_folder_is_refused(project):
    (project / "elsewhere").mkdir()
    (project / "my_package").mkdir()
    (project / "my_package" / "__init__.py").touch()
    (project / "my_package" / "inner").symlink_to(project / "elsewhere")
    with pytest.raises(InputError, match="my_package/inner is a link to a folder"):
        add("my_package")
    assert read_list() == []
