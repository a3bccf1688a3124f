"""Any part is written as plain values and built again from them; other objects are refused."""

import copy
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from helpers import tiny
from torch import nn

from velm_lightning.encoders import SmallCNN
from velm_lightning.fusion import Concat, GatedMultimodalUnit, InteractiveFusion, LateFusion
from velm_lightning.io.configurable import Configurable, build, find_class, to_config
from velm_lightning.tasks import Classification, VQAAccuracy
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.training import Optimization
from velm_lightning.types import InputError


class Leaf(Configurable):
    def __init__(self, width: int, names=("a", "b"), *, scale: float = 1.0) -> None:
        self.width, self.names, self.scale = width, names, scale


class Keywords(Configurable):
    def __init__(self, first: int = 1, **others) -> None:
        self.first, self.others = first, others


class Layer(Configurable, nn.Module):
    """Has no ``__init__`` of its own: nn.Module's takes ``*args`` and ``**kwargs``."""


class NotRecorded:
    pass


def test_arguments_are_written_down_with_their_defaults():
    assert to_config(Leaf(3)) == {
        "class_path": f"{__name__}.Leaf",
        "init_args": {"width": 3, "names": ["a", "b"], "scale": 1.0},
    }


def test_positional_and_keyword_arguments_are_written_alike():
    assert to_config(Leaf(3, ["c"])) == to_config(Leaf(names=("c",), width=3))


def test_variable_keyword_arguments_are_stored_by_name():
    assert to_config(Keywords(2, width=3))["init_args"] == {"first": 2, "width": 3}


def test_a_class_without_arguments_has_none():
    assert to_config(Layer())["init_args"] == {}
    assert to_config(Concat())["init_args"] == {}


def test_parts_are_written_within_parts():
    init_args = to_config(Keywords(inner=Leaf(1), more=[Leaf(2)], named={"x": Leaf(3)}))["init_args"]
    assert init_args["inner"]["init_args"]["width"] == 1
    assert init_args["more"][0]["init_args"]["width"] == 2
    assert init_args["named"]["x"]["init_args"]["width"] == 3


def test_plain_values_stay_and_paths_become_text():
    given = {"a": [1, 2.5, True, None, "x"], "b": {"c": (Path("d/e"),)}}
    assert to_config(given) == {"a": [1, 2.5, True, None, "x"], "b": {"c": ["d/e"]}}


@pytest.mark.parametrize("value", [NotRecorded(), nn.Linear(1, 1), torch.zeros(1), torch.float16, len, {1, 2}])
def test_what_plain_values_cannot_say_is_refused_by_its_class(value):
    with pytest.raises(InputError, match=rf"{type(value).__qualname__} cannot be written.*derive"):
        to_config(Keywords(part=value))


def test_a_recipe_survives_json():
    model = tiny.fusion(InteractiveFusion, heads=2)
    written = to_config(model)
    assert json.loads(json.dumps(written)) == written


@pytest.mark.parametrize(
    "part",
    [
        Leaf(3, ["c"], scale=0.5),
        Keywords(2, width=3, inner=Leaf(1)),
        Layer(),
        GatedMultimodalUnit(),
        SmallCNN(16, (8,), 4),
        Optimization(betas=(0.8, 0.9)),
        VQAAccuracy("pre-2021"),
        Classification(loss="sigmoid", scorer=VQAAccuracy()),
        tiny.vocabulary(),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_was_written_down_is_built_again(part):
    written = to_config(part)
    built = build(written)
    assert type(built) is type(part)
    assert to_config(built) == written


@pytest.mark.parametrize("kind", [LateFusion, InteractiveFusion])
def test_a_whole_model_is_built_again(kind):
    model = tiny.fusion(
        kind, **({"heads": 2, "gated": True} if kind is InteractiveFusion else {"merge": GatedMultimodalUnit()})
    )
    built = build(to_config(model))
    assert {name: p.shape for name, p in built.named_parameters()} == {
        name: p.shape for name, p in model.named_parameters()
    }


def test_copies_and_pickles_remember_their_arguments():
    for part in (Leaf(3), tiny.cnn(), tiny.vocabulary()):
        assert to_config(copy.deepcopy(part)) == to_config(part)
        assert to_config(pickle.loads(pickle.dumps(part))) == to_config(part)


def test_a_wrong_call_fails_as_in_any_class():
    with pytest.raises(TypeError, match="width"):
        Leaf()
    with pytest.raises(TypeError, match="nonsense"):
        Leaf(3, nonsense=1)


# Untrusted configurations


def test_code_of_foreign_packages_does_not_run(tmp_path, monkeypatch):
    mark = tmp_path / "it_ran"
    (tmp_path / "evil_package.py").write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="outside the allowed packages, .*variable VELM_ALLOW=evil_package"):
        build({"class_path": "evil_package.Anything", "init_args": {}})
    assert not mark.exists()


def test_a_package_that_is_allowed_is_imported(tmp_path, monkeypatch):
    code = "from velm_lightning.io.configurable import Configurable\nclass Mine(Configurable):\n    pass\n"
    (tmp_path / "my_parts.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert type(build({"class_path": "my_parts.Mine", "init_args": {}}, allow=["my_parts"])).__name__ == "Mine"
    finally:
        sys.modules.pop("my_parts", None)


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "builtins.dict", "torch.nn.Linear", f"{__name__}.Path"])
def test_nothing_but_recorded_classes_is_called(path):
    with pytest.raises(InputError, match="is not a part that a checkpoint may hold|is code outside the allowed"):
        build({"class_path": path, "init_args": {}})


@pytest.mark.parametrize("path", ["velm_lightning.fusion.NoSuch", "velm_lightning.nowhere.Thing"])
def test_a_class_that_does_not_exist_is_named(path):
    with pytest.raises(InputError, match=f"'{path}' does not exist"):
        find_class(path)


@pytest.mark.parametrize("path", ["", "LateFusion"])
def test_a_class_without_a_module_is_refused(path):
    with pytest.raises(InputError, match="is not the path of a class, such as my_module.MyClass"):
        find_class(path)


def test_mappings_that_only_resemble_a_class_stay_mappings():
    plain = {"class_path": "x", "other": [1, {"init_args": {}}]}
    assert build(plain) == plain


def test_a_vocabulary_is_a_part_like_any_other():
    words = tiny.vocabulary()
    again = build(to_config(words))
    assert isinstance(again, Vocabulary)
    assert again.encode(tiny.TEXTS) == words.encode(tiny.TEXTS)
    assert (again.answers, again.counts, again.max_length) == (words.answers, words.counts, words.max_length)
