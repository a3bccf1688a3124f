"""The real parser reads every shipped config and builds the model and data of the run."""

import pytest
import torch
import torchvision
import yaml
from helpers import tiny
from helpers.command_line import CONF, FEW, ROOT, prepared

from velm_lightning import encoders, fusion
from velm_lightning.checkpoints import checkpoint
from velm_lightning.data import PretrainedTokenizer
from velm_lightning.encoders import ImageEncoder, SmallCNN, TransformerTextEncoder
from velm_lightning.io import hub
from velm_lightning.text.vocabulary import SPECIALS
from velm_lightning.types import ImageTransform

EVERY = sorted([*CONF.rglob("*.yaml"), *(ROOT / "sweeps").rglob("*.yaml")])
WHOLE = sorted(CONF.glob("*.yaml"))
VQA = CONF / "vqa.yaml"
STAND_INS = {  # small models of the same kind
    "sentence-transformers/all-MiniLM-L6-v2": tiny.TEXT_CONFIGS["bert"],
    "gpt2": tiny.TEXT_CONFIGS["gpt2"],
    "HuggingFaceTB/SmolLM2-135M-Instruct": tiny.TEXT_CONFIGS["llama"],
    "openai/clip-vit-base-patch32": tiny.IMAGE_CONFIGS["clip"],
    "facebook/dinov2-small": tiny.IMAGE_CONFIGS["dinov2"],
}
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
    """Prepare a run of these words without W&B and outside of the working folder."""

    def prepare(*given, build=True):
        aside = ["--tracking.wandb=off", f"--tracking.runs={tmp_path}"]
        return prepared(monkeypatch, "fit", *given, *aside, build=build)

    return prepare


@pytest.fixture
def no_download(monkeypatch):
    """Published weights are replaced by random ones."""
    get_model = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights=None: get_model(name))
    monkeypatch.setattr(encoders.image.torchvision, "check_file", lambda file: None)
    configuration, model = hub.configuration, hub.model
    monkeypatch.setattr(hub, "configuration", lambda name, given=None: configuration(None, STAND_INS.get(name, given)))
    monkeypatch.setattr(hub, "model", lambda auto, config, name: model(auto, config, None))
    monkeypatch.setattr(hub, "image_transform", lambda name: ImageTransform(tiny.SIZE))
    words = {"tokenizer": tiny.train_tokenizer(tiny.TEXTS), "specials": SPECIALS, "add_eos": False}
    monkeypatch.setattr(hub, "tokenizer", lambda name: words)


def one_step(made):
    """Return the loss of one batch of the data, computed by the model."""
    made.datamodule.connect(made.model)
    made.model.task.prepare(made.datamodule.samples("train"))
    batch = next(iter(made.datamodule.train_dataloader()))
    loss = made.model.task.loss(made.model, batch)
    loss.backward()
    return loss


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_every_file_is_a_mapping(path):
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_numbers_are_not_strings(path):
    """YAML reads 1e-5 as a string; it must be written 1.0e-5."""

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
    """Whether the data of an experiment are embedded; other data are not available to the tests."""
    kind = read(CONF / read(path)["data"])["dataset"]["class_path"]
    return kind.startswith("Shape") or kind in ("Digits", "FacePosts")


def stand_in(path):
    """Embedded data that replace those of an experiment and suit its task."""
    produced = read(path)["model"]["init_args"]["task"]["class_path"] == "Generation"
    return [] if of_our_own(path) else ["--data", CONF / "data" / f"shape_{'captions' if produced else 'scenes'}.yaml"]


@pytest.fixture
def teacher(words, tmp_path):
    """A model of conf/vqa.yaml as a checkpoint."""
    model = words("--config", VQA, *FEW).model
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, tmp_path / "teacher.ckpt")
    return ["--model.init_args.task.init_args.teacher", tmp_path / "teacher.ckpt"]


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_every_experiment_builds_its_model_and_computes_a_loss(path, words, no_download, request):
    needs = request.getfixturevalue("teacher") if path.stem == "distill" else []
    made = words("--config", path, *stand_in(path), *FEW, *needs)
    assert made.model.vocabulary.size > 5
    assert one_step(made).isfinite()


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_every_experiment_opens_with_a_summary(path):
    summary, launch, *_ = path.read_text("utf-8").splitlines()
    assert summary.startswith("# ")
    assert launch.startswith(f"#   velm fit --config {name_of(path)}")
    assert read(path)["tracking"]["experiment"] == path.stem


def test_every_config_opens_with_a_comment():
    assert [path for path in EVERY if path.parent.name != "encoders" and not path.read_text().startswith("# ")] == []


@pytest.mark.parametrize("fusion_name", ["InteractiveFusion", "EarlyFusion"])
def test_optimization_needs_no_class_path(fusion_name, words, tmp_path):
    """Neither in a config, nor on the command line, nor in the file of dotted keys that a sweep writes."""
    (tmp_path / "first.yaml").write_text(
        "model: {init_args: {optimization: {learning_rate: 0.25, layer_decay: 0.5}}}\n"
    )
    (tmp_path / "trial.json").write_text(
        f'{{"model.class_path": "{fusion_name}", "model.init_args.optimization.weight_decay": 0.125}}'
    )
    files = ["--config", tmp_path / "first.yaml", "--config", tmp_path / "trial.json"]
    made = words("--config", VQA, *files, "--model.init_args.optimization.learning_rate=1e-3", build=False)
    settings = made.config["fit"]["model"]["init_args"]["optimization"]
    assert made.config["fit"]["model"]["class_path"].endswith(f".{fusion_name}")
    assert settings["class_path"].endswith(".Optimization")
    given = {"learning_rate": 1e-3, "layer_decay": 0.5, "weight_decay": 0.125}
    assert {key: settings["init_args"][key] for key in given} == given


def test_class_path_names_the_schedule(words, tmp_path):
    """A class of the package by its name, one outside of it by its path; on the command line, too."""
    schedule = "{class_path: helpers.restarts.CosineRestarts, init_args: {warmup_ratio: 0.1, cycles: 3}}"
    (tmp_path / "restarts.yaml").write_text(f"model: {{init_args: {{optimization: {{schedule: {schedule}}}}}}}\n")
    allowed = "--allow=helpers", "--config", VQA, *FEW, "--config", tmp_path / "restarts.yaml"
    made = words(*allowed, "--model.init_args.optimization.learning_rate=1e-3").model.optimization
    assert (type(made.schedule).__name__, made.schedule.warmup_ratio, made.schedule.cycles) == (
        "CosineRestarts",
        0.1,
        3,
    )
    assert made.learning_rate == 1e-3
    key = "--model.init_args.optimization.schedule"
    made = words("--config", VQA, *FEW, f"{key}=LinearDecay", f"{key}.init_args.warmup_ratio=0.2").model.optimization
    assert (type(made.schedule).__name__, made.schedule.warmup_ratio) == ("LinearDecay", 0.2)


def test_no_config_names_the_class_of_its_optimization():
    assert [path for path in EVERY if "class_path: Optimization" in path.read_text("utf-8")] == []


@parts("fusion")
def test_swapping_the_fusion_changes_nothing_else(path, words):
    wanted = read(path)["model"]
    made = words("--config", VQA, "--config", path, *FEW)
    assert type(made.model) is getattr(fusion, wanted["class_path"])
    assert isinstance(made.model._init_args["image_encoder"], SmallCNN)
    assert made.model._init_args["image_encoder"]._init_args["widths"] == WIDTHS
    assert isinstance(made.model.text_encoder, TransformerTextEncoder)
    assert made.model.task.dropout == 0
    for name, value in wanted.get("init_args", {}).items():
        part = made.model._init_args[name]
        assert type(part).__name__ == value["class_path"] if isinstance(value, dict) else part == value
    assert one_step(made).isfinite()


@pytest.mark.parametrize("name", ["LateFusion", "TextOnly"])
def test_a_fusion_can_be_swapped_by_its_name_only(name, words):
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
        assert made.model(batch).embeddings.isfinite().all()


@parts("init")
def test_encoders_of_an_experiment_can_have_random_weights(path, words, no_download):
    pretrained = CONF / "daquar_minilm.yaml"
    small = ["--model.init_args.image_encoder.init_args.size=32"]
    made = words("--config", pretrained, "--config", path, *stand_in(pretrained), *FEW, *small)
    image, text = made.model.image_encoder, made.model.text_encoder
    assert not text.pretrained
    assert image.pretrained == image.frozen == path.stem.endswith("_text")
    assert all(p.requires_grad for name, p in made.model.named_parameters() if not name.startswith("image_encoder."))
    assert isinstance(made.datamodule.tokenizing, PretrainedTokenizer)
    assert one_step(made).isfinite()


@pytest.mark.parametrize("given", [[], ["--data.tokenizer", "TrainedTokenizer"]])
def test_a_pretrained_text_encoder_brings_its_tokeniser(given, words, no_download):
    made = words("--config", VQA, "--model.init_args.text_encoder", CONF / "encoders" / "minilm.yaml", *FEW, *given)
    assert made.datamodule.tokenizing.name == "sentence-transformers/all-MiniLM-L6-v2"
    assert made.config["fit"]["data"]["tokenizer"]["init_args"]["name"] == made.datamodule.tokenizing.name
    assert made.model.vocabulary.tokenizer.get_vocab() == tiny.vocabulary().tokenizer.get_vocab()


def test_a_visual_prefix_trains_its_mapping_only(words, no_download):
    made = words("--config", CONF / "visual_prefix.yaml", *stand_in(CONF / "visual_prefix.yaml"), *FEW)
    one_step(made)
    assert {name.split(".")[0] for name, p in made.model.named_parameters() if p.grad is not None} == {"connector"}
    assert {name.split(".")[0] for name, p in made.model.named_parameters() if p.requires_grad} == {"connector"}


@parts("tuning")
def test_a_visual_prefix_can_also_train_its_language_model(path, words, no_download):
    made = words(
        "--config", CONF / "visual_prefix.yaml", "--config", path, *stand_in(CONF / "visual_prefix.yaml"), *FEW
    )
    assert one_step(made).isfinite()
    language = dict(made.model.text_encoder.named_parameters())
    learned = {name for name, p in language.items() if p.grad is not None}
    adapters = {name for name in language if ".lora_" in name}
    assert bool(adapters) == (path.stem == "lora")
    assert learned == (adapters or set(language))
    assert all(p.grad is not None for p in made.model.connector.parameters())
    assert all(p.grad is None for p in made.model.image_encoder.parameters())


@parts("data")
def test_every_dataset_config_is_parsed(path, words):
    made = words("--config", VQA, "--data", path, build=False)
    dataset = made.config["fit"]["data"]["dataset"]
    assert dataset["class_path"].rpartition(".")[2] == read(path)["dataset"]["class_path"].rpartition(".")[2]


@parts("trainer")
def test_every_trainer_config_is_parsed(path, words):
    content = read(path)
    wanted = content.get("trainer", content)
    made = words("--config", VQA, "--config" if "trainer" in content else "--trainer", path, build=False)
    assert {key: made.config["fit"]["trainer"][key] for key in wanted} == wanted


def test_files_are_found_from_any_folder(words, tmp_path, monkeypatch):
    """Paths in a config are relative to its file, paths on a command line to the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("class_path: RNNTextEncoder\n")
    made = words("--config", VQA, "--model.init_args.text_encoder", "mine.yaml", build=False)
    assert made.config["fit"]["model"]["init_args"]["text_encoder"]["class_path"].endswith("RNNTextEncoder")
