"""The templates of ``velm new`` go with every task through fit, ask, verify and compare.

Every run is made of templates only, in a folder outside the package: ``AnyFusion`` and ``AnyEncoder`` on
``AnyDataset``, and ``AnyTask`` next to the tasks of the package.
"""

import inspect
import sys

import pytest
import yaml
from PIL import Image

import velm_lightning.tasks
from velm_lightning.cli.new import KINDS
from velm_lightning.tasks import Task

LABELS = "target={file.parent.name: 1.0}"  # the line of the template
SENTENCES, NOTHING = 'target=f"a {file.parent.name} square"', "target=None"


def part(class_path, **arguments):
    return {"class_path": class_path, "init_args": arguments}


OWN, WORDS, PAIRS = part("any_task.AnyTask"), part("MaskedLM"), part("Retrieval", width=8)
JUDGE, FLOW = part("helpers.brightness.Brightness"), part("velm_lightning.decoding.Flow", steps=2)
TASKS = {  # a task, and the line of the dataset with what it learns; `teacher` is the run of the first entry
    "Classification": (part("Classification"), LABELS),
    "Distillation": (part("Distillation", task=part("Classification"), teacher="Classification"), LABELS),
    "Drawing": (part("Drawing", judge=JUDGE, size=16, patch=8, flow=FLOW), NOTHING),
    "Generation": (part("Generation"), SENTENCES),
    "MaskedLM": (WORDS, NOTHING),
    "Mixture": (part("Mixture", tasks={"words": WORDS, "pairs": PAIRS}), NOTHING),
    "Retrieval": (PAIRS, NOTHING),
    "SelfCritical": (part("SelfCritical", samples=2), SENTENCES),
    "AnyTask": (OWN, LABELS),
    "Distillation-AnyTask": (part("Distillation", task=OWN, teacher="AnyTask"), LABELS),
    "Mixture-AnyTask": (part("Mixture", tasks={"ranks": OWN, "words": WORDS}), LABELS),
}


@pytest.fixture(scope="module")
def folder(here_in, tmp_path_factory):
    """A folder with images of two classes and the four templates, which are allowed once."""
    place = tmp_path_factory.mktemp("own")
    for split in ("train", "val"):
        for number, name in enumerate(("red", "blue")):
            (place / "data" / split / name).mkdir(parents=True)
            for shade in range(4):
                colour = tuple(60 * shade + 70 * (number == channel) for channel in range(3))
                Image.new("RGB", (16, 16), colour).save(place / "data" / split / name / f"{shade}.png")
    for kind in KINDS:
        assert here_in(place, "new", kind, f"any_{kind}") == 0
    return place


def config(folder, name):
    """Write the config of a task, and its line into the dataset."""
    task, line = TASKS[name]
    template = (folder / "any_dataset.py").read_text()
    (current,) = (text for text in (LABELS, SENTENCES, NOTHING) if text in template)
    (folder / "any_dataset.py").write_text(template.replace(current, line))
    if "teacher" in task["init_args"]:
        (run,) = (folder / "runs" / task["init_args"]["teacher"]).iterdir()
        task = part(task["class_path"], **task["init_args"] | {"teacher": str(run / "checkpoints" / "best.ckpt")})
    patches = part("Patches", size=16, patch=8)  # which drawing needs
    model = part(
        "any_fusion.AnyFusion",
        image_encoder=patches if name == "Drawing" else part("any_encoder.AnyEncoder", size=16, dim=8),
        text_encoder=part("TransformerTextEncoder", dim=8, heads=2, depth=1),
        task=task,
    )
    return {
        "data": {"dataset": part("any_dataset.AnyDataset", root="data"), "batch_size": 4},
        "model": model,
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
        "tracking": {"experiment": name, "wandb": "disabled", "pictures": 1, "thumbnails": 0},
    }


def test_no_task_is_missing():
    tasks = {name for name, value in vars(velm_lightning.tasks).items() if inspect.isclass(value)}
    concrete = {name for name in tasks if issubclass(getattr(velm_lightning.tasks, name), Task)} - {"Task", "HeadTask"}
    assert concrete <= TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_the_templates_go_through_the_commands(name, folder, here_in, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "home"))
    content = config(folder, name)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    for kind in KINDS:
        sys.modules.pop(f"any_{kind}", None)  # the dataset has changed
        assert here_in(folder, "allow", f"any_{kind}") == 0
    fit = ["fit", f"{name}.yaml"]
    for words in (fit, ["ask", "latest", "--random"], ["verify", "latest"], ["compare", f"runs/{name}"]):
        assert here_in(folder, *words) == 0, (words, capsys.readouterr().err)
    for kind in KINDS:
        sys.modules.pop(f"any_{kind}", None)
