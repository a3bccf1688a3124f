"""Text never runs code: whatever a config names is refused before its import, unless it is an allowed class."""

import socket
import sys
from contextlib import suppress

import pytest
from lightning.pytorch import Trainer

from velm_lightning.cli.parsing.parser import Parser
from velm_lightning.data import MultimodalData
from velm_lightning.fusion import Fusion
from velm_lightning.types import InputError

PLACES = {
    "a model": "model: {{class_path: {name}, init_args: {args}}}",
    "a model by its name": "model: {name}",
    "an encoder": "model: {{class_path: LateFusion, init_args: {{text_encoder: {{class_path: {name}}}}}}}",
    "a dataset": "data: {{dataset: {{class_path: {name}, init_args: {args}}}}}",
    "a transform": "data: {{augment: [{{class_path: {name}, init_args: {args}}}]}}",
    "a function of a transform": "data: {{augment: [{{class_path: torchvision.transforms.v2.Lambda, "
    "init_args: {{lambd: {{class_path: {name}, init_args: {args}}}}}}}]}}",
    "a callback": "trainer: {{callbacks: [{{class_path: {name}, init_args: {args}}}]}}",
    "a function of a callback": "trainer: {{callbacks: [{{class_path: lightning.pytorch.callbacks.LambdaCallback, "
    "init_args: {{on_fit_start: {{class_path: {name}, init_args: {args}}}}}}}]}}",
    "a function by its name": "trainer: {{callbacks: [{{class_path: lightning.pytorch.callbacks.LambdaCallback, "
    "init_args: {{on_fit_start: {name}}}}}]}}",
    "a logger": "trainer: {{logger: {{class_path: {name}, init_args: {args}}}}}",
}
NAMES = [
    "harmful.Fusion",
    "os.system",
    "torch.os.system",
    "torch.utils.cpp_extension.subprocess.getoutput",
    "velm_lightning.cli.sweep.subprocess.Popen",
]
REFUSED = "is code outside the allowed packages|reaches the module|only classes may be named|is given as a function"


@pytest.fixture
def harmful(monkeypatch, tmp_path):
    """A file that a payload would create; ``harmful.py``, which is found, creates it where it is imported."""
    (tmp_path / "harmful.py").write_text("from pathlib import Path\nPath(__file__).with_name('mark').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "harmful", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mark"


@pytest.fixture(scope="module")
def parser():
    """A parser of models, data and trainers, as that of ``velm fit``."""
    parser = Parser()
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(Fusion, "model", required=False)
    parser.add_lightning_class_args(MultimodalData, "data")
    parser.add_lightning_class_args(Trainer, "trainer")
    return parser


def parse(parser, text, file="theirs.yaml"):
    with open(file, "w") as config:
        config.write(text)
    built = parser.instantiate(parser.parse_args(["--config", file]))
    raise AssertionError(f"{built} was built")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES)
def test_a_config_runs_no_code(harmful, parser, place, name):
    args = {"os.system": "{command: touch mark}", "torch.os.system": "{command: touch mark}"}
    args |= {NAMES[3]: "{cmd: touch mark}", NAMES[4]: "{args: [touch, mark]}"}
    with pytest.raises(InputError, match=REFUSED) as refused:
        parse(parser, PLACES[place].format(name=name, args=args.get(name, "{}")))
    assert "theirs.yaml: " in str(refused.value)
    assert str(refused.value).count("\n") == 0
    assert not harmful.exists()
    assert "harmful" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "data: {augment: [{class_path: torch.hub.load, init_args: {repo_or_dir: x, model: y}}]}",
        "data: {augment: [{class_path: torch.load, init_args: {f: x}}]}",
        "data: {augment: [{class_path: velm_lightning.io.atomic.write_atomic, init_args: {path: mark, text: x}}]}",
        "data: {augment: [{class_path: velm_lightning.io.atomic}]}",
        "data: {augment: [{class_path: torch.nn.Module.compile}]}",
        "data: {augment: [{class_path: torchvision.transforms.v2.Lambda, init_args: {lambd: torch.nn.ReLU}}]}",
        "model: {class_path: builtins.eval, init_args: {source: 1}}",
        "model: {class_path: functools.partial}",
        "trainer: {profiler: {class_path: torch.utils.benchmark.Timer, init_args: {stmt: x}}}",
        "trainer: {plugins: [{class_path: runpy.run_path, init_args: {path_name: harmful.py}}]}",
        "data: {tokenizer: pickle.loads}",
        "data: {augment: [{class_path: torchmetrics.image.arniqa.ARNIQA}]}",  # which downloads its weights
    ],
)
def test_functions_and_foreign_classes_are_refused(harmful, parser, text):
    with pytest.raises(InputError, match=REFUSED):
        parse(parser, text)
    assert not harmful.exists()


def test_an_allowed_class_of_another_kind_is_refused(harmful, parser):
    with pytest.raises(InputError, match="does not correspond to a subclass of Dataset"):
        parse(parser, "data: {dataset: {class_path: torch.nn.ReLU}}")


@pytest.mark.parametrize(
    ("outer", "file"),
    [
        ("data: {dataset: part.cfg}", "part.cfg"),
        ("data: part", "part"),
        ("model: part.txt", "part.txt"),
        ("trainer: {callbacks: part.jsonl}", "part.jsonl"),
        ("trainer: {callbacks: [part.test]}", "part.test"),
        (
            "model: {class_path: LateFusion, init_args: {task: {class_path: Mixture, init_args: {tasks: {train: p}}}}}",
            "p",
        ),
        (
            "model: {class_path: LateFusion, init_args: {task: {class_path: Mixture, init_args: {tasks: {test: p}}}}}",
            "p",
        ),
    ],
)
def test_nested_files_of_any_name_and_size_pass_the_gate(harmful, parser, outer, file):
    inner = "{class_path: harmful.Thing}"
    text = f"dataset: {inner}\n" if outer.startswith("data: part") else f"{inner[1:-1]}\n"
    with open(file, "w") as part:
        part.write("#" * 2**17 + f"\n{text}")
    with pytest.raises(InputError, match=f"{file}: harmful.Thing is code outside the allowed packages"):
        parse(parser, outer)
    assert not harmful.exists()


def test_values_without_a_type_stay_text(harmful, parser):
    inner = "{class_path: harmful.Thing, init_args: {}}"
    text = f"trainer: {{strategy: {{class_path: lightning.pytorch.strategies.DDPStrategy, init_args: {{x: {inner}}}}}}}"
    with open("theirs.yaml", "w") as config:
        config.write(text)
    with suppress(InputError, ValueError, TypeError):
        parser.instantiate(parser.parse_args(["--config", "theirs.yaml"]))
    assert not harmful.exists()
    assert "harmful" not in sys.modules


# Files that are no configs


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"data: [1\n", "theirs.yaml:2: not YAML at column 1"),
        (
            b"trainer:\n  max_epochs: 1\n  max_epochs: 2\n",
            "theirs.yaml:3: max_epochs is given a second time, after line 2",
        ),
        (b"a: 1\nb: \xfc\n", "theirs.yaml:2: byte 0xfc is not UTF-8"),
        (b"a: &a [*a]\n", "theirs.yaml:1: *a contains itself"),
        (b"{a: " * 200, "theirs.yaml:1: is nested more than 100 deep"),
    ],
)
def test_a_config_that_is_no_config_is_named_with_its_line(here, capsys, tmp_path, content, told):
    (tmp_path / "theirs.yaml").write_bytes(content)
    (tmp_path / "outer.yaml").write_text("model: theirs.yaml\n")
    for config in ("theirs.yaml", "outer.yaml"):
        assert here("fit", "--config", config) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"velm: error: {told}")
        assert message.count("\n") == 1


def test_a_text_that_is_no_config_is_not_printed_whole(here, capsys, tmp_path):
    """As that of a file that a link in a stranger's folder leads to."""
    (tmp_path / "secret").write_text("\n".join(f"user{number}:x:{number}:secret" for number in range(200)))
    (tmp_path / "theirs.yaml").symlink_to(tmp_path / "secret")
    for words in (["fit", "--config", "theirs.yaml"], ["data", "check", "theirs.yaml"]):
        assert here(*words) == 2
        error = capsys.readouterr().err
        assert "user100:x" not in error
        assert error.count("\n") == 1


def test_own_and_well_known_classes_need_no_word(parser):
    names = "{class_path: torchvision.transforms.v2.RandomGrayscale}, {class_path: torch.nn.Identity}"
    config = parser.parse_args(["--data.dataset=ShapeScenes", f"--data.augment=[{names}]"])
    assert [part.class_path.split(".")[0] for part in config.data.augment] == ["torchvision", "torch"]


# Network addresses


ADDRESSES = ["https://example.org/x", "s3://bucket/x", "simplecache::https://example.org/x", "s3://bucket/a b"]
ADDRESSES += [" s3://bucket/x", "file::s3://bucket/x", "simplecache::s3://bucket/a b"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_need_the_word_of_the_command_line(harmful, parser, monkeypatch, address):
    words = ["--data.dataset=ShapeScenes", f"--trainer.default_root_dir={address}"]
    assert parser.parse_args(words).trainer.default_root_dir == address  # from Python
    monkeypatch.setenv("VELM_ALLOW_NETWORK", "0")
    with pytest.raises(InputError, match="trainer.default_root_dir: .* is a network address, and nothing was opened"):
        parser.parse_args(words)
    assert parser.parse_args([*words[:1], "--trainer.default_root_dir=runs"]).trainer.default_root_dir == "runs"


@pytest.mark.parametrize("place", ["model: {}", "data: {}", "data: {{dataset: {}}}", "trainer: {{callbacks: [{}]}}"])
@pytest.mark.parametrize("address", ["https://example.org/x.yaml", "s3://bucket/x.yaml"])
def test_no_config_is_looked_for_in_the_network(harmful, parser, monkeypatch, place, address):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: asked.append(words) or [])
    with pytest.raises(InputError):
        parse(parser, place.format(address))
    assert not asked


def test_the_refusal_of_an_address_holds_the_whole_command(here, capsys, tmp_path):
    (tmp_path / "my conf.yaml").write_text("trainer: {default_root_dir: 'https://example.org'}\n")
    words = ["fit", "--config", "my conf.yaml", "--model", "TextOnly", "--data.dataset", "ShapeScenes"]
    assert here(*words) == 2
    command = "velm fit --config 'my conf.yaml' --model TextOnly --data.dataset ShapeScenes --allow-network"
    assert f"run `{command}`" in capsys.readouterr().err
