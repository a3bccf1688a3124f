"""A wrong type of an argument from Python is one sentence; what an annotation allows, or cannot say, is accepted."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack

import numpy as np
import pytest
import torch
from torch import nn

import velm_lightning as velm
from velm_lightning.errors import InputError
from velm_lightning.io.argument_types import checked, describe, fits
from velm_lightning.io.configurable import Configurable, build, to_config
from velm_lightning.tracking.from_python.trainer_arguments import check_names


class Drawn(Protocol):
    def draw(self) -> None: ...


class Options(TypedDict, total=False):
    size: int


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [3, np.int64(3), torch.tensor(3)], ["3", 3.0, True, None]),
        (float, [3, 3.5, np.float32(3)], ["3", True, None]),
        (bool, [True, np.bool_(True)], [1, "yes", None]),
        (str, ["a", Path("a")], [3, b"a", None]),
        (Path, ["a", Path("a")], [3, None]),
        (int | None, [3, None], ["3"]),
        (Literal["a", "b"], ["a"], ["c", 1]),
        (Sequence[int], [[1], (1, 2), np.array([1])], [1, "12", ["1"], {"a": 1}, np.array(1)]),
        (tuple[int, ...], [[1], (1,)], [1]),
        (Mapping[str, int], [{"a": 1}], [["a"], {"a": "1"}]),
        (Options, [{"size": 1}], [3]),
        (nn.Module, [nn.Identity()], [nn.Identity, 3]),
        (Any, [3, None], []),
        (Drawn, [3], []),
        (Callable[[int], int], [3], []),
    ],
)
def test_values_fit_an_annotation_or_not(hint, good, bad):
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


def test_an_annotation_is_described_in_words():
    assert describe(int | float | None) == "a whole number, a number or None"
    assert describe(Sequence[int]) == "a list, each a whole number"
    assert describe(Literal["a", "b"]) == "'a' or 'b'"


class Small(Configurable):
    def __init__(self, size: int = 3, name: "NotImported" = "x", old: int = None) -> None:  # noqa: F821, RUF013
        self.size = size


class Smaller(Small):
    def __init__(self, scale: float = 1.0, **options: Any) -> None:
        super().__init__(**options)


def test_a_part_of_a_user_is_checked_where_it_can_be():
    assert Small(name=3).size == 3
    assert Small(old=None).size == 3  # its own default
    with pytest.raises(InputError, match="Small: size='3' is of type str: give a whole number"):
        Small("3")
    with pytest.raises(InputError, match="Smaller: size='3' is of type str"):
        Smaller(size="3")
    with pytest.raises(TypeError, match="unexpected keyword argument 'sizes'"):
        Smaller(sizes=3)


def test_a_checkpoint_is_rebuilt_without_the_check():
    config = to_config(Small(3)) | {"init_args": {"size": "3"}}
    assert build(config).size == "3"


@checked(first="the first of all")
def call(first: nn.Module, *, count: int = 1, **options: Unpack[Options]) -> int:
    return count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": nn.Identity}, "velm.call: first is the class Identity: write Identity"),
        ({"first": 3}, "velm.call: first is of type int: give the first of all"),
        ({"first": nn.Identity(), "count": "3"}, "velm.call: count='3' is of type str: give a whole number"),
        ({"first": nn.Identity(), "size": "3"}, "velm.call: size='3' is of type str: give a whole number"),
    ],
)
def test_a_function_is_checked_before_it_runs(arguments, message):
    with pytest.raises(InputError, match=message):
        call(**arguments)
    assert call(nn.Identity(), count=2, size=3) == 2
    with pytest.raises(TypeError, match="unexpected keyword argument|missing 1 required"):
        call()


SCENES = {"train": 1, "val": 1, "test": 1, "size": 16}


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (velm.SmallCNN, {"size": "48"}),
        (velm.SmallViT, {"size": 32, "patch": "8"}),
        (velm.TransformerTextEncoder, {"depth": 2.5}),
        (velm.RNNTextEncoder, {"dropout": "0.3"}),
        (velm.HFTextEncoder, {"name": 3}),
        (velm.TorchvisionCNN, {"name": ["resnet18"]}),
        (velm.Classification, {"balance": "0.5"}),
        (velm.Generation, {"decoding": "beam"}),
        (velm.Retrieval, {"width": "512"}),
        (velm.BeamSearch, {"beams": "3"}),
        (velm.Optimization, {"learning_rate": "1e-3"}),
        (velm.ShapeScenes, {"train": 1, "size": "16"}),
        (velm.JSONLines, {"train": 3}),
        (velm.DataFiles, {"path": 3}),
        (velm.Conversations, {"path": 3}),
        (velm.MultimodalData, {"dataset": velm.ShapeScenes(**SCENES), "batch_size": "4"}),
        (velm.MultimodalData.from_rows, {"rows": [{"text": "a", "target": "b"}], "holdout": "0.1"}),
        (velm.RunRecorder, {"pictures": "2"}),
        (velm.wrap_encoder, {"module": nn.Identity(), "size": 16, "dim": "4"}),
        (velm.load, {"name": 3}),
        (velm.compare_runs, {"runs": ["a"], "rope": "0.1"}),
        (velm.fit, {"model": None, "data": None}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_every_public_name_refuses_a_wrong_type_by_name(make, arguments):
    wrong = list(arguments)[-1] if make is not velm.fit else "model"
    with pytest.raises(InputError, match=rf"{wrong}\b.* is of type \w+: give ") as error:
        make(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("max_epoch", "did you mean max_epochs"), ("lr", "the learning rate is that of velm.Optimization")],
)
def test_an_argument_that_no_trainer_has_is_named(name, said):
    with pytest.raises(InputError, match=f"velm.fit and lightning.Trainer have no argument '{name}': {said}"):
        check_names([name])
    check_names(["max_epochs"])
