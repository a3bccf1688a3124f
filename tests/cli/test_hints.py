"""A refusal names what was probably meant, and only if the name does not exist."""

import os
import re
import sys

import pytest
from helpers.command_line import CONF, FEW, SMALL, prepared

from velm_lightning.cli.start.hints import OPTIMIZATION, OTHER_NAMES, SCHEDULE, readable
from velm_lightning.cli.start.words import complete
from velm_lightning.errors import InputError

VQA = ["fit", "--config", str(CONF / "vqa.yaml"), *SMALL, *FEW, "--tracking.wandb=off"]


@pytest.fixture
def refused(here, capsys):
    """A function that returns the one line with which a command ends."""

    def run(*words):
        assert here(*words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("velm: error: ")

    return run


# Files and experiments


def test_a_config_may_be_named_without_its_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("data: {}\n")
    assert complete(["fit", "mine.yaml", "--trainer.max_epochs", "3"]) == [
        *("fit", "--config", "mine.yaml", "--trainer.max_epochs", "3")
    ]
    assert complete(["fit", "vqa", "--model=LateFusion"]) == ["fit", "--config", "conf/vqa.yaml", "--model=LateFusion"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "conf/vqa.yml"], "velm fit conf/vqa.yml: cannot be read: .*; did you mean conf/vqa.yaml?"),
        (
            ["fit", "--config", "conf/vqq.yaml"],
            "--config conf/vqq.yaml: cannot be read.*; did you mean conf/vqa.yaml?",
        ),
        (["fit", "--config=mine.yml"], "--config mine.yml: cannot be read: .*; did you mean mine.yaml?"),
        (["fit", "vqaa"], "velm fit vqaa: there is no config file and no experiment of that name; did you mean 'vqa'?"),
        (
            ["fit", "mine.yaml", "--lr=3"],
            "there is no option --lr: use --model.init_args.optimization.learning_rate 3",
        ),
        (["fit", "mine.yaml", "--epochs=3"], "there is no option --epochs: use --trainer.max_epochs 3"),
        (["fit", "mine.yaml", "--batch_size", "8"], "there is no option --batch_size: use --data.batch_size 8"),
        (["predict", "latest", "--text", "what?"], "latest: runs holds no runs"),
    ],
)
def test_a_wrong_file_or_option_is_named_with_the_right_one(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("data: {}\n")
    with pytest.raises(InputError, match=said.replace("?", r"\?").replace("(", r"\(")):
        complete(words)


VALUES = {
    f"{OPTIMIZATION}.learning_rate": 0.002,
    f"{OPTIMIZATION}.weight_decay": 0.02,
    f"{SCHEDULE} Cosine --{SCHEDULE}.init_args.warmup_ratio": 0.2,
    "model": "EarlyFusion",
    "data.dataset": "ShapeScenes",
    "data.batch_size": 8,
    "data.num_workers": 1,
    "trainer.max_epochs": 3,
    "trainer.max_steps": 5,
    "trainer.devices": 1,
    "trainer.precision": "bf16-mixed",
    "trainer.accelerator": "cpu",
    "trainer.accumulate_grad_batches": 2,
    "trainer.gradient_clip_val": 0.5,
    "trainer.fast_dev_run": True,
    "seed_everything": 4,
    "tracking.runs": "elsewhere",
    "tracking.project": "shapes",
    "tracking.experiment": "mine",
    "ckpt_path": "best.ckpt",
    "early_stopping.patience": 2,
}


def test_every_key_that_a_hint_names_exists(monkeypatch):
    assert set(OTHER_NAMES.values()) == set(VALUES)
    options = [word for key, value in VALUES.items() for word in f"--{key} {value}".split()]
    prepared(monkeypatch, *VQA, *options, build=False)


def test_an_overlay_of_comments_only_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.yaml").write_text("# trainer:\n#   max_epochs: 3\n")
    assert complete(["fit", "vqa", "--config", "empty.yaml"]) == ["fit", "--config", "conf/vqa.yaml"]


def test_an_overlay_larger_than_memory_is_refused(here, capsys, tmp_path):
    (tmp_path / "huge.yaml").touch()
    os.truncate(tmp_path / "huge.yaml", 2**43)  # it has a hole, and takes no space
    for words in (["fit", "huge.yaml"], ["fit", "vqa", "--config", "huge.yaml"]):
        assert here(*words) == 2
        assert "huge.yaml: is larger than 16 MiB" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["fit"], ["init"], ["score"], ["fit", "vqa", "--config"]])
def test_a_pipe_instead_of_a_file_is_not_opened(here, capsys, tmp_path, words):
    file = "a.yaml" if words[0] == "fit" else "a.csv"
    os.mkfifo(tmp_path / file)
    assert here(*words, file) == 2
    told = f"{file}: cannot be read:? .?it is (not a regular file|a pipe or device, which may never end)"
    assert re.search(told, capsys.readouterr().err)


# What the system refuses


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "some/file"), "some/file: No space left on device: free some space"),
        (OSError(28, "No space left on device"), "error: No space left on device: free some space, or check the"),
        (PermissionError(13, "Permission denied", "a"), "a: Permission denied: free some space, or check the perm"),
    ],
)
def test_a_full_disk_or_missing_right_is_one_line(here, capsys, monkeypatch, error, told):
    """Wherever in a command it happens."""
    monkeypatch.setattr("velm_lightning.cli.runs.run_folders", lambda place: (_ for _ in ()).throw(error))
    assert here("runs") == 2
    assert told in capsys.readouterr().err


def test_other_errors_of_the_system_are_mistakes_of_a_program(here, monkeypatch):
    def fail(place):
        raise FileNotFoundError(2, "No such file or directory", "x")

    monkeypatch.setattr("velm_lightning.cli.runs.run_folders", fail)
    with pytest.raises(FileNotFoundError):
        here("runs")


@pytest.mark.parametrize("command", [["ask", "x" * 300, "--random"], ["fit", "x" * 300], ["verify", "x" * 300]])
def test_a_name_longer_than_any_file_has_is_one_line(here, capsys, command):
    assert here(*command) == 2
    error = capsys.readouterr().err
    assert "File name too long: give another name" in error or "there is no " in error  # from Python 3.14 on
    assert error.count("\n") == 1


def test_a_width_beyond_the_memory_is_refused_before_it_is_used(refused):
    line = refused(*VQA, f"--model.init_args.text_encoder.init_args.dim={10**10}")
    assert line == "TransformerTextEncoder needs more memory than the system has: choose smaller sizes"


# Keys, classes and values


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.batch_size=abc"], "data.batch_size: expected int, got abc"),
        (["--tracking.wandb=onlin"], "tracking.wandb: expected auto, online, offline"),
        (["--model.init_args.text_encoder.init_args.heads=two"], "model.text_encoder.heads: expected int, got two"),
    ],
)
def test_a_wrong_value_is_no_reason_for_a_hint(refused, words, said):
    line = refused(*VQA, *words)
    assert line.startswith(said)
    assert "did you mean" not in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.init_args.image_encoder=SmalCNN"], "there is no class SmalCNN; did you mean 'SmallCNN'"),
        (["--model.init_args.lr=3"], "use model.init_args.optimization.learning_rate instead of 'lr'"),
        (["--trainer.callbacks+=Compilng"], "did you mean 'Compiling' instead of 'Compilng'?"),
    ],
)
def test_what_does_not_exist_is_hinted_at_once_and_only_there(refused, words, said):
    line = refused(*VQA, *words)
    assert line.count(said) == 1
    assert line.count("instead of") == 1


@pytest.mark.parametrize(
    ("words", "said", "hinted"),
    [
        (["--model=my_fusion.FiLMFusion"], "my_fusion.FiLMFusion is code outside the allowed packages", ""),
        (
            ["--allow", "my_fusion", "--model=my_fusion.FilmFusion"],
            "module 'my_fusion' has no attribute 'FilmFusion'",
            "did you mean 'FiLMFusion' instead of 'FilmFusion'?",
        ),
        (["--allow", "nowhere", "--model=nowhere.FiLMFusion"], "no module nowhere", ""),
    ],
    ids=["not allowed", "another name", "another module"],
)
def test_an_own_class_gets_only_a_hint_that_is_true(refused, tmp_path, monkeypatch, words, said, hinted):
    """None names a class of the package, an extra to install or an option of another key."""
    monkeypatch.chdir(tmp_path)
    base = "from velm_lightning.fusion import LateFusion\n"
    (tmp_path / "my_fusion.py").write_text(f"{base}class FiLMFusion(LateFusion):\n    pass\n")
    line = refused(*VQA, *words)
    assert said in line
    assert line.count("did you mean") == bool(hinted)
    assert line.endswith(hinted)
    assert "pip install" not in line
    sys.modules.pop("my_fusion", None)


def test_a_message_of_the_parser_is_read_with_its_whole_key():
    text = 'Parser key "model": Parser key "depth": Expected a <class \'int\'> (given: x)'
    assert readable(text) == "model.depth: expected int, got x"


# Parts that cannot be built


def test_a_missing_package_is_one_line_with_its_command(refused, monkeypatch):
    logger = "{class_path: MLFlowLogger, init_args: {tracking_uri: x}}"
    line = refused(*VQA, f"--trainer.logger={logger}")
    assert line == "MLFlowLogger needs the package mlflow, which is not installed: pip install mlflow"


def test_whatever_a_part_raises_is_one_sentence(refused):
    line = refused(*VQA, "--trainer.accelerator=tpuu")
    assert "cannot be built: ValueError: You selected an invalid accelerator name" in line
    assert line.endswith("(set VELM_DEBUG=1 for the traceback)")


@pytest.mark.parametrize(
    ("words", "raised", "sentence"),
    [
        ([*VQA, "--trainer.accelerator=tpuu"], "ValueError: You selected an invalid", "cannot be built"),
        (["compare", "none"], "InputError: none does not exist", "none does not exist"),
    ],
    ids=["another library", "this package"],
)
def test_debug_prints_the_traceback_before_the_sentence(here, capsys, monkeypatch, words, raised, sentence):
    monkeypatch.setenv("VELM_DEBUG", "1")
    assert here(*words) == 2
    *trace, last = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in trace
    assert [line for line in trace if raised in line]
    assert [line for line in trace if line.lstrip().startswith("File ")]
    assert sentence in last


def test_distillation_without_a_teacher_is_one_sentence(refused):
    line = refused("fit", "--config", CONF / "distill.yaml", *FEW, "--tracking.wandb=off")
    assert line == "task.teacher is not set: name the checkpoint of a trained model"
