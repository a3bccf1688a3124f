"""Every number that a public class takes has a range; a value outside of it is refused when the object is made."""

import inspect
import math
from contextlib import suppress

import pytest
from helpers import tiny

import velm_lightning as velm
from velm_lightning import data, decoding, encoders, fusion, tasks, training
from velm_lightning.fusion import merges
from velm_lightning.io.configurable import Configurable
from velm_lightning.tasks.scene_judge import SceneJudge
from velm_lightning.types import Dataset

MODULES = velm, data, decoding, encoders, fusion, merges, tasks, training
NEGATIVE = {"BeamSearch.length_penalty", "Drawing.centre", "Flow.guidance"}  # meaningful below 0
NEEDED = {
    "dataset": tiny.Samples,
    "encoder": tiny.cnn,
    "image_encoder": tiny.cnn,
    "judge": SceneJudge,
    "task": tasks.Classification,
    "text_encoder": tiny.transformer,
    "vocabulary": tiny.vocabulary,
}


def parameters(kind):
    """Return the parameters of a class that have names."""
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [parameter for parameter in inspect.signature(kind).parameters.values() if parameter.kind not in variable]


def made(kind, **changes):
    """Return an object of a class from small parts."""
    required = [parameter.name for parameter in parameters(kind) if parameter.default is parameter.empty]
    return kind(**{name: NEEDED[name]() for name in required} | changes)


def classes():
    """Return the public classes by name that need small parts only, and no files."""
    public = {value for module in MODULES for name in module.__all__ if inspect.isclass(value := getattr(module, name))}
    found = {}
    for kind in public:
        if issubclass(kind, Configurable | Dataset) and not inspect.isabstract(kind):
            with suppress(KeyError, velm.InputError):
                made(kind)
                found[kind.__name__] = kind
    return found


def numbers(kind):
    """Yield the numeric arguments of a class, and whether they are integers."""
    for parameter in parameters(kind):
        hint, default = str(parameter.annotation), parameter.default
        if type(default) in (int, float) or (default is None and ("int" in hint or "float" in hint)):
            yield parameter.name, "float" not in hint


CLASSES = classes()
ARGUMENTS = [(kind, name, whole) for kind in sorted(CLASSES) for name, whole in numbers(CLASSES[kind])]


def test_classes_are_found():
    assert {
        "EarlyFusion",
        "SmallCNN",
        "Resampler",
        "CaptionPairs",
        "Drawing",
        "Generation",
        "BeamSearch",
        "TensorFusion",
        "LoRA",
    } <= CLASSES.keys()


@pytest.mark.parametrize(("kind", "name", "whole"), ARGUMENTS, ids=[f"{kind}.{name}" for kind, name, _ in ARGUMENTS])
def test_a_number_out_of_its_range_is_refused(kind, name, whole):
    values = [] if f"{kind}.{name}" in NEGATIVE else [-1]
    for value in values + ([] if whole else [math.nan, math.inf]):
        with pytest.raises(velm.InputError, match=name):
            made(CLASSES[kind], **{name: value})
