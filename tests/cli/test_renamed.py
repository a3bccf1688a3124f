"""A config key or class of an earlier version is refused by one line that names its new name."""

import json

import pytest
from helpers.command_line import CONF

from velm_lightning import decoding, encoders, fusion, training
from velm_lightning.cli.renamed import _CLASSES, _KEYS, renamed

WARMUP = "optimization.schedule: {class_path: Cosine, init_args: {warmup_ratio: …}}"
RATE = {"learning_rate": 0.1}


def task(kind, **arguments):
    return {"model": {"init_args": {"task": {"class_path": kind, "init_args": arguments}}}}


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ({"data": {"workers": 3}}, "data.workers is now data.num_workers"),
        (
            {"model": {"init_args": {"optimization": RATE | {"warmup": 0.1}}}},
            f"optimization.warmup is now {WARMUP}",
        ),
        (
            {"model": {"init_args": {"optimization": {"class_path": "Optimization", "init_args": {"warmup": 0.1}}}}},
            f"optimization.warmup is now {WARMUP}",
        ),
        (
            {"model": {"init_args": {"optimization": RATE | {"warmup_ratio": 0.1}}}},
            f"optimization.warmup_ratio is now {WARMUP}",
        ),
        (
            {"model": {"init_args": {"optimization": RATE | {"pretrained_factor": 0.1}}}},
            "optimization.pretrained_factor is now optimization.pretrained_lr_scale",
        ),
        (task("Drawing", blank=0.1), "task.blank is now task.caption_dropout"),
        (
            task("Drawing", judge={"class_path": "SceneJudge", "init_args": {"cache": "x"}}),
            "judge.cache is now judge.cache_dir",
        ),
        (task("Generation", head="own"), "`head: own` is now `head: pretrained`"),
        (task("Generation", decoding={"class_path": "Beam"}), "Beam is now BeamSearch"),
        ({"model": {"init_args": {"connector": {"class_path": "MLP"}}}}, "MLP is now MLPConnector"),
        (
            {"model": {"init_args": {"text_encoder": "velm_lightning.encoders.PretrainedText"}}},
            "PretrainedText is now HFTextEncoder",
        ),
        ({"model": "TrunkFirst"}, "TrunkFirst is now TextFirstFusion"),
    ],
)
def test_an_old_name_in_a_config_is_refused_by_its_new_one(here, tmp_path, capsys, config, hint):
    (tmp_path / "old.json").write_text(json.dumps(config))
    assert here("fit", "--config", CONF / "vqa.yaml", "--config", "old.json") == 2
    assert capsys.readouterr().err == f"velm: error: {hint}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--data.workers", "3"], "data.workers is now data.num_workers"),
        (["--model.init_args.optimization.warmup=0.1"], f"optimization.warmup is now {WARMUP}"),
        (["--model.init_args.text_encoder", "RecurrentText"], "RecurrentText is now RNNTextEncoder"),
    ],
)
def test_an_old_name_on_the_command_line_is_refused_too(here, capsys, words, hint):
    assert here("fit", "--config", CONF / "vqa.yaml", *words) == 2
    assert capsys.readouterr().err == f"velm: error: {hint}\n"


@pytest.mark.parametrize("old", _KEYS)
def test_every_old_key_is_recognised(old):
    section, name = old.split(".")
    new = f"{old} is now {_KEYS[old]}"
    assert renamed(f"Subcommand 'fit' does not accept option '{old}'") == [new]
    assert renamed(f"unrecognized arguments: --{old}=3") == [new]
    assert renamed(f"Parser key \"{section}\": Option '{name}' is not accepted") == [new]


def test_an_old_value_is_refused_by_its_new_one():
    hint = "`data.images: none` is now `data.image_cache: disabled`"
    assert renamed("unrecognized arguments: --data.images none") == [hint]
    assert renamed(f'Parser key "data": {hint}') == [hint]


def test_new_classes_exist_and_old_ones_do_not():
    rooms = (decoding, encoders, fusion, training)
    for old, new in _CLASSES.items():
        assert any(hasattr(room, new) for room in rooms), new
        assert not any(hasattr(room, old) for room in rooms), old


@pytest.mark.parametrize(
    "message",
    [
        "unrecognized arguments: --data.dataset.init_args.images x",
        "Subcommand 'fit' does not accept option 'data.worker'",
        "Expected a dot import path string: MLPs",
    ],
)
def test_other_messages_get_no_hint(message):
    assert renamed(message) == []
