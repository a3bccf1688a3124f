"""``velm budget``: the table, the widths as JSON and as options, and its refusals."""

import json

import pytest
from helpers.command_line import CONF, FEW, SMALL, prepared

from velm_lightning.cli.budget import show
from velm_lightning.cli.commands import main
from velm_lightning.inspection.budget import Match
from velm_lightning.sweep.spec import flattened

VQA, FUSIONS = CONF / "vqa.yaml", CONF / "fusion"
WIDTH = "model.init_args.text_encoder.init_args.feed_forward"


@pytest.fixture(autouse=True)
def seeds(monkeypatch):
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")  # the command sets them, and monkeypatch restores them


def budget(*words):
    return main(["budget", *map(str, words), "--base", str(VQA), *FEW, *SMALL])


def trained(made):
    return sum(parameter.numel() for parameter in made.model.parameters() if parameter.requires_grad)


def test_widths_give_two_fusions_the_same_size(monkeypatch, tmp_path, capsys):
    early, interactive = FUSIONS / "early.yaml", FUSIONS / "cross_attention.yaml"
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(interactive.read_text().replace("init_args:", "init_args:\n    heads: 2"))
    assert budget(early, overlay, "--json", tmp_path / "found.json") == 0
    found = json.loads((tmp_path / "found.json").read_text())
    arms = found["arms"]
    assert arms[str(overlay)]["settings"] == {}
    assert set(arms[str(early)]["settings"]) == {WIDTH}
    out = capsys.readouterr().out
    assert f"--{WIDTH} {arms[str(early)]['settings'][WIDTH]}" in out
    assert f"target: {found['target']:,} trained parameters" in out
    settings = {"model": {"class_path": "EarlyFusion", "init_args": {"join": 0}}} | arms[str(early)]["settings"]
    (tmp_path / "args.json").write_text(json.dumps(flattened(settings)))  # as a sweep passes them
    made = prepared(monkeypatch, "fit", "--config", VQA, *FEW, *SMALL, "--config", tmp_path / "args.json")
    assert trained(made) == arms[str(early)]["after"]
    assert abs(trained(made) / found["target"] - 1) <= 0.02


def test_more_than_five_percent_is_refused_with_the_nearest(capsys):
    words = [word for word in SMALL if "text_encoder" not in word]
    code = main(["budget", str(VQA), "--target", "50", *FEW, *words])
    assert code == 2
    message = capsys.readouterr().err
    assert "vqa.yaml: the nearest reachable value is" in message
    assert "from 50, and more than 5% is refused" in message


def test_the_table_states_what_was_changed(capsys):
    matches = {
        "a": Match(before=900, after=990, settings={WIDTH: 24}, replaced={WIDTH: None}),
        "b": Match(before=1000, after=1000, settings={}, replaced={}),
    }
    show(matches, "flops", 1000)
    out = " ".join(capsys.readouterr().out.split())
    assert "target: 1,000 FLOPs of a training step per sample" in out
    assert all(text in out for text in ("feed_forward default → 24", "-1.00%", "+0.00%", "nothing"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tolerance", "6%"], "--tolerance must be above 0 and at most 5%, got 6%"),
        (["--tolerance", "0"], "--tolerance must be above 0 and at most 5%, got 0"),
        (["--tolerance", "some"], "--tolerance must be above 0 and at most 5%, got some"),
        ([], "velm budget matches several configs: name at least two"),
        ([str(VQA)], "velm budget matches several configs: name at least two"),
        (["--target", "0"], "--target must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(words, message, capsys):
    assert main(["budget", str(VQA), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"a": 3}', '{"a": ["--config", 3]}', "\udcff"])
def test_a_file_of_arms_that_holds_none_is_named(content, tmp_path, capsys):
    path = tmp_path / "arms.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert main(["budget", "--arms", str(path)]) == 2
    assert f"{path}: expected a JSON object with lists of the words of `velm fit`" in capsys.readouterr().err


def test_a_missing_file_of_arms_is_named(tmp_path, capsys):
    assert main(["budget", "--arms", str(tmp_path / "none.json")]) == 2
    assert "none.json: cannot be read (No such file or directory)" in capsys.readouterr().err
