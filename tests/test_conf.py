"""Every shipped config is read by the real parser, and what a user would start with it is built."""

import pytest
import torch
import torchvision
import yaml
from command_line import CONF, FEW, ROOT, prepared

from velm_lightning import encoders, fusion
from velm_lightning.encoders import ImageEncoder, SmallCNN, TransformerText

EVERY = sorted([*CONF.rglob("*.yaml"), *(ROOT / "sweeps").rglob("*.yaml")])
WHOLE = sorted(CONF.glob("*.yaml"))
VQA = CONF / "vqa.yaml"
WIDTHS = yaml.safe_load((CONF / "encoders" / "small_cnn.yaml").read_text())["init_args"]["widths"]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def read(path):
    return yaml.safe_load(path.read_text("utf-8"))


def kind_of(path):
    """The class that a file with one ``class_path`` names by its short name."""
    return read(path)["class_path"].rpartition(".")[2]


def parts(folder):
    return pytest.mark.parametrize("path", sorted((CONF / folder).glob("*.yaml")), ids=name_of)


@pytest.fixture
def words(monkeypatch, tmp_path):
    """Prepare a run of these words without W&B and away from the working folder."""

    def prepare(*given, build=True):
        aside = ["--tracking.wandb=off", f"--tracking.runs={tmp_path}"]
        return prepared(monkeypatch, "fit", *given, *aside, build=build)

    return prepare


@pytest.fixture
def no_download(monkeypatch):
    """Published weights are replaced by random ones."""
    get_model = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights=None: get_model(name))


def one_step(made):
    """The loss of one batch of the data that were built, by the model that was built."""
    made.datamodule.connect(made.model)
    batch = next(iter(made.datamodule.train_dataloader()))
    loss = made.model.task.loss(made.model, batch)
    loss.backward()
    return loss


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_every_file_is_a_mapping(path):
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_numbers_are_numbers_and_not_words(path):
    """YAML reads 1e-5 as a word; it must be written 1.0e-5."""

    def leaves(value):
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from leaves(item)
        else:
            yield value

    for leaf in leaves(read(path)):
        if isinstance(leaf, str):
            with pytest.raises(ValueError, match="could not convert"):
                float(leaf)


def of_our_own(path):
    """Whether the data of an experiment are embedded; others are not at hand where the tests run."""
    kind = read(CONF / read(path)["data"])["dataset"]["class_path"]
    return kind.startswith("Shape") or kind in ("Digits", "FacePosts")


def stand_in(path):
    """Embedded data that an experiment's task can learn from, in the place of its own."""
    produced = read(path)["model"]["init_args"]["task"]["class_path"] == "Generation"
    return CONF / "data" / ("shape_captions.yaml" if produced else "shape_scenes.yaml")


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_every_experiment_builds_a_model_that_learns_from_its_data(path, words, no_download):
    data = [] if of_our_own(path) else ["--data", stand_in(path)]
    made = words("--config", path, *data, *FEW)
    assert made.model.vocabulary.size > 5
    assert one_step(made).isfinite()


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_every_experiment_says_what_it_is(path):
    assert path.read_text("utf-8").startswith("# ")
    assert read(path)["tracking"]["experiment"] == path.stem


@parts("fusion")
def test_every_fusion_swaps_into_the_experiment_and_changes_nothing_else(path, words):
    wanted = read(path)["model"]
    made = words("--config", VQA, "--config", path, *FEW)
    assert type(made.model) is getattr(fusion, wanted["class_path"])
    assert isinstance(made.model._init_args["image_encoder"], SmallCNN)
    assert made.model._init_args["image_encoder"]._init_args["widths"] == WIDTHS
    assert isinstance(made.model.text_encoder, TransformerText)
    assert made.model.task.dropout == 0
    for name, value in wanted.get("init_args", {}).items():
        found = made.model._init_args[name]
        assert type(found).__name__ == value["class_path"] if isinstance(value, dict) else found == value
    assert one_step(made).isfinite()


@pytest.mark.parametrize("name", ["LateFusion", "TextOnly"])
def test_a_fusion_may_be_swapped_by_its_name_alone(name, words):
    made = words("--config", VQA, "--model", name, *FEW)
    assert type(made.model).__name__ == name
    assert made.model._init_args["image_encoder"]._init_args["widths"] == WIDTHS


@parts("encoders")
def test_every_encoder_swaps_into_the_experiment(path, words, no_download):
    kind = getattr(encoders, kind_of(path))
    option = "image_encoder" if issubclass(kind, ImageEncoder) else "text_encoder"
    made = words("--config", VQA, f"--model.init_args.{option}", path, *FEW)
    assert type(getattr(made.model, option)) is kind
    with torch.no_grad():
        made.datamodule.connect(made.model)
        batch = next(iter(made.datamodule.train_dataloader())).first(2)
        assert made.model(batch).x.isfinite().all()


@parts("data")
def test_every_dataset_is_understood(path, words):
    made = words("--config", VQA, "--data", path, build=False)
    dataset = made.config["fit"]["data"]["dataset"]
    assert dataset["class_path"].rpartition(".")[2] == read(path)["dataset"]["class_path"].rpartition(".")[2]


@parts("trainer")
def test_every_trainer_is_understood(path, words):
    content = read(path)
    wanted = content.get("trainer", content)
    made = words("--config", VQA, "--config" if "trainer" in content else "--trainer", path, build=False)
    assert {key: made.config["fit"]["trainer"][key] for key in wanted} == wanted


def test_files_are_found_from_any_folder(words, tmp_path, monkeypatch):
    """A config names others relative to itself, a command line relative to where it is typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("class_path: RecurrentText\n")
    made = words("--config", VQA, "--model.init_args.text_encoder", "mine.yaml", build=False)
    assert made.config["fit"]["model"]["init_args"]["text_encoder"]["class_path"].endswith("RecurrentText")
