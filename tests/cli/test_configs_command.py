"""``velm configs`` lists the experiments of the package and copies them; all commands find packaged configs."""

import os
import re
from pathlib import Path

import pytest
from helpers.command_line import CONF

from velm_lightning.cli.configs import experiments


def test_every_experiment_is_listed_with_its_summary(here, capsys):
    assert here("configs") == 0
    output = capsys.readouterr().out
    for path in CONF.glob("*.yaml"):
        summary = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        assert f"\n{path.stem} " in f"\n{output}"
        assert summary in output
    assert list(experiments()) == sorted(path.stem for path in CONF.glob("*.yaml"))


@pytest.mark.parametrize("name", ["vqa", "conf/vqa.yaml"])
def test_an_experiment_is_copied_with_its_files(here, tmp_path, capsys, name):
    assert here("configs", "copy", name) == 0
    copied = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    encoders = {"conf/encoders/small_cnn.yaml", "conf/encoders/transformer.yaml"}
    assert copied == {"conf/vqa.yaml", "conf/data/shape_scenes.yaml", *encoders}
    assert all((tmp_path / path).read_bytes() == (CONF.parent / path).read_bytes() for path in copied)
    assert "wrote conf/vqa.yaml" in capsys.readouterr().out


def test_a_copy_never_overwrites(here, tmp_path, capsys):
    changed = tmp_path / "conf" / "encoders" / "transformer.yaml"
    changed.parent.mkdir(parents=True)
    changed.write_text("mine: 1\n")
    assert here("configs", "copy", "vqa") == 2
    assert "conf/encoders/transformer.yaml exists and differs from the package's file" in capsys.readouterr().err
    assert changed.read_text() == "mine: 1\n"
    assert not (tmp_path / "conf" / "vqa.yaml").exists()


def test_a_pipe_in_the_place_of_a_copy_is_not_waited_for(here, tmp_path, capsys):
    (tmp_path / "conf").mkdir()
    os.mkfifo(tmp_path / "conf" / "vqa.yaml")
    assert here("configs", "copy", "vqa") == 2
    assert "conf/vqa.yaml exists and differs from the package's file" in capsys.readouterr().err


def test_a_second_copy_keeps_identical_files(here, tmp_path, capsys):
    assert here("configs", "copy", "vqa") == 0
    before = (tmp_path / "conf" / "encoders" / "transformer.yaml").stat().st_mtime_ns
    assert here("configs", "copy", "captioning") == 0
    assert "kept conf/encoders/transformer.yaml" in capsys.readouterr().out
    assert (tmp_path / "conf" / "encoders" / "transformer.yaml").stat().st_mtime_ns == before


def test_an_unknown_experiment_is_named(here, capsys):
    assert here("configs", "copy", "nowhere") == 2
    assert "there is no experiment 'nowhere'" in capsys.readouterr().err


def test_commands_find_packaged_configs(here, capsys):
    """In a folder without conf/, the file and those that it names are the package's, and one line states this."""
    assert here("data", "check", "conf/vqa.yaml", "--data.dataset.init_args.train=4", "--data.nothing=1") == 2
    captured = capsys.readouterr()
    assert "data.nothing" in captured.err
    assert re.fullmatch(r"using .*vqa\.yaml, which comes with velm_lightning\n", captured.out)
    assert here("sweep", "sweeps/vqa_fusion.yaml", "--dry") == 0
    assert "vqa_fusion.yaml, which comes with velm_lightning" in capsys.readouterr().out


def test_files_of_the_working_directory_come_first(here, tmp_path, capsys):
    Path(tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "vqa.yaml").write_text("model: harmful.Fusion\n")
    assert here("fit", "--config", "conf/vqa.yaml") == 2
    captured = capsys.readouterr()
    assert "conf/vqa.yaml: model: harmful.Fusion" in captured.err or "harmful" in captured.err
    assert "comes with" not in captured.out
