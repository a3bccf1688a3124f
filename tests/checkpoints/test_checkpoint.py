"""A checkpoint is self-contained, executes no code when it is read, and is refused by name if it cannot be read."""

import pickle
import zipfile

import pytest
import torch
from helpers import tiny
from helpers.payload import Payload
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning import Trainer
from torch import nn

from velm_lightning.checkpoints import checkpoint
from velm_lightning.fusion import EarlyFusion, Fusion, LateFusion
from velm_lightning.io.configurable import to_config
from velm_lightning.text.vocabulary import train_tokenizer
from velm_lightning.training import Optimization
from velm_lightning.types import InputError


@pytest.fixture
def model():
    return tiny.fusion(LateFusion).eval()


@pytest.fixture
def content(model):
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    return content


def saved(content, tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    return path


def test_a_checkpoint_of_a_trainer_is_sufficient_to_answer(model, batch, tmp_path):
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Fusion.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.task.top_answers(loaded, batch, 3) == model.task.top_answers(model, batch, 3)
    assert loaded.vocabulary.answers == list(tiny.ANSWERS)
    assert loaded.transform == model.transform
    assert loaded.grid == model.grid


def test_the_file_holds_only_weights_and_plain_values(content, tmp_path):
    read = torch.load(saved(content, tmp_path), weights_only=True)
    assert read["velm"] == {"format": checkpoint.FORMAT, "model": content["velm"]["model"]}


def test_a_fusion_can_be_loaded_by_its_own_class(content, tmp_path):
    assert type(LateFusion.load_from_checkpoint(saved(content, tmp_path))) is LateFusion


def test_a_checkpoint_of_another_fusion_is_refused(content, tmp_path):
    with pytest.raises(InputError, match=r"model\.ckpt holds a LateFusion, not a EarlyFusion"):
        EarlyFusion.load_from_checkpoint(saved(content, tmp_path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.ckpt does not exist"):
        checkpoint.read(tmp_path / "nowhere.ckpt")


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"checkpoint .* does not exist"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(content, tmp_path, share):
    path = saved(content, tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"model\.ckpt is cut off or not a checkpoint"):
        checkpoint.read(path)


@pytest.mark.parametrize("text", [b"not a checkpoint\n", b"\x89PNG\r\n\x1a\n", b'{"velm": 1}'])
def test_a_file_of_another_type_is_refused(tmp_path, text):
    path = tmp_path / "model.ckpt"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"model\.ckpt is cut off or not a checkpoint"):
        checkpoint.read(path)


def test_an_archive_of_another_type_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "not a checkpoint")
    with pytest.raises(InputError, match=r"model\.ckpt is cut off or not a checkpoint: "):
        checkpoint.read(path)


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "bare pickle"])
def test_code_in_a_file_is_refused_and_does_not_run(content, tmp_path, old_format):
    mark, path = tmp_path / "it_ran", tmp_path / "model.ckpt"
    harmful = content | {"callbacks": Payload(mark)}
    if old_format:
        path.write_bytes(pickle.dumps(harmful))
    else:
        torch.save(harmful, path)
    with pytest.raises(InputError, match=r"model\.ckpt"):
        Fusion.load_from_checkpoint(path)
    assert not mark.exists()


def test_objects_besides_weights_and_plain_values_are_refused(content, tmp_path):
    with pytest.raises(InputError, match=r"model\.ckpt holds more than weights and plain values, so it was not read"):
        checkpoint.read(saved(content | {"extra": Payload(tmp_path)}, tmp_path))


@pytest.mark.parametrize("other", [{"state_dict": {}}, [1, 2], torch.zeros(3)], ids=["lightning", "list", "tensor"])
def test_a_checkpoint_of_another_program_is_refused(tmp_path, other):
    with pytest.raises(InputError, match=r"model\.ckpt was not written by velm_lightning"):
        checkpoint.read(saved(other, tmp_path))


def test_a_later_format_is_refused(content, tmp_path):
    content["velm"]["format"] = 99
    with pytest.raises(InputError, match="format 99, but this version reads format 2: use the version"):
        checkpoint.read(saved(content, tmp_path))


def test_an_older_format_names_the_version_that_reads_it(content, tmp_path):
    content["velm"]["format"] = 1
    with pytest.raises(InputError, match=r"has format 1, but this version reads format 2: use velm_lightning 0\.1$"):
        Fusion.load_from_checkpoint(saved(content, tmp_path))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content["velm"].pop("format"),
        lambda content: content.update(velm=3),
        lambda content: content["velm"].update(format=0),
        lambda content: content["velm"].pop("model"),
        lambda content: content.pop("state_dict"),
        lambda content: content["state_dict"].popitem(),
        lambda content: content["velm"]["model"]["init_args"].update(of_an_older_version=1),
        lambda content: content["velm"]["model"].update(class_path=7),
        lambda content: content["velm"]["model"]["init_args"].pop("task"),
    ],
    ids=range(9),
)
def test_incomplete_checkpoints_are_refused_by_name(content, tmp_path, spoil):
    spoil(content)
    with pytest.raises(InputError, match=r"checkpoint .*model\.ckpt"):
        Fusion.load_from_checkpoint(saved(content, tmp_path))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_are_either_read_or_refused(tmp_path, data):
    """The weights are small, so that most changes hit the pickle or the tables of the archive."""
    path = saved(
        {"velm": {"format": checkpoint.FORMAT, "model": {}}, "state_dict": {"w": torch.zeros(1)}, "a": [1.5, "x"]},
        tmp_path,
    )
    whole = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        assert "state_dict" in checkpoint.read(path)
    except InputError as error:
        assert "model.ckpt" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def repeated(depth):
    """A few objects that stand for 2 to the power of ``depth`` values."""
    value = [1, 2]
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda part: part["text_encoder"]["init_args"].update(dim=-8), "text_encoder.dim must be at least 1, got -8"),
        (lambda part: part["text_encoder"]["init_args"].update(dim=2**62), "its model cannot be built"),
        (lambda part: part["text_encoder"]["init_args"].update(dim=10**5), "needs more than .* bytes"),
        (lambda part: part["text_encoder"]["init_args"].update(depth=10**9), "has more than .* layers"),
        (lambda part: part["text_encoder"]["init_args"].update(dim="8"), "its model cannot be built"),
        (lambda part: part["text_encoder"]["init_args"].update(dim=nested(300)), "is nested more than 100 deep"),
        (lambda part: part["text_encoder"]["init_args"].update(dim=repeated(30)), "holds more than 2,000,000 values"),
        (lambda part: part["text_encoder"]["init_args"].update(dim=torch.zeros(2)), "not described by plain values"),
        (lambda part: part["text_encoder"].update(init_args=3), "its model cannot be built"),
        (lambda part: part["vocabulary"]["init_args"].update(tokenizer="{}"), "the tokeniser cannot be read"),
        (lambda part: part["vocabulary"]["init_args"].update(tokenizer=7), "the tokeniser cannot be read"),
        (lambda part: part["vocabulary"]["init_args"].update(answers=3), "its model cannot be built"),
    ],
    ids=[
        "negative",
        "huge",
        "wide",
        "deep",
        "text",
        "nested",
        "repeated",
        "tensor",
        "arguments",
        "tokeniser",
        "number",
        "answers",
    ],
)
def test_a_description_that_builds_nothing_is_refused(content, tmp_path, spoil, named):
    spoil(content["velm"]["model"]["init_args"])
    with pytest.raises(InputError, match=named) as refused:
        Fusion.load_from_checkpoint(saved(content, tmp_path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("convert", "named"),
    [
        (lambda weight: weight.bool(), "holds truth values, that of the model holds real numbers"),
        (lambda weight: weight.to(torch.complex64), "holds complex numbers, that of the model holds real numbers"),
        (lambda weight: weight.long(), "holds integers, that of the model holds real numbers"),
        (lambda weight: weight.tolist(), "is not a dense tensor"),
    ],
    ids=["bool", "complex", "integer", "list"],
)
def test_weights_of_another_kind_are_refused(model, content, tmp_path, convert, named):
    name, weight = next((name, weight) for name, weight in content["state_dict"].items() if weight.is_floating_point())
    content["state_dict"] = {**content["state_dict"], name: convert(weight)}
    with pytest.raises(InputError, match=named):
        Fusion.load_from_checkpoint(saved(content, tmp_path))
    with pytest.raises(InputError, match=named):
        model.on_load_checkpoint(content)


def test_a_foreign_class_is_refused_unless_allowed(content, tmp_path, monkeypatch):
    code = "from velm_lightning.fusion import LateFusion\nclass Mine(LateFusion):\n    pass\n"
    (tmp_path / "my_fusions.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    content["velm"]["model"]["class_path"] = "my_fusions.Mine"
    path = saved(content, tmp_path)
    with pytest.raises(InputError, match=r"model\.ckpt: my_fusions\.Mine is code outside .*VELM_ALLOW=my_fusions"):
        Fusion.load_from_checkpoint(path)
    assert type(Fusion.load_from_checkpoint(path, allow=["my_fusions"])).__name__ == "Mine"


def test_a_part_that_is_not_configurable_is_named():
    model = tiny.fusion(LateFusion, optimization=Unwritable(nn.ReLU()))
    with pytest.raises(InputError, match="ReLU cannot be written into a checkpoint: derive the class"):
        checkpoint.pack(model, {})


class Unwritable(Optimization):
    def __init__(self, activation):
        super().__init__()
        self.activation = activation


def test_weights_are_loaded_to_the_given_device(content, tmp_path):
    read = checkpoint.read(saved(content, tmp_path), map_location="meta")
    assert {weight.device.type for weight in read["state_dict"].values()} == {"meta"}


def test_a_checkpoint_of_a_loaded_model_is_equal(model, content, tmp_path):
    loaded = Fusion.load_from_checkpoint(saved(content, tmp_path))
    again = {"state_dict": loaded.state_dict()}
    checkpoint.pack(loaded, again)
    assert again["velm"] == content["velm"] == {"format": checkpoint.FORMAT, "model": to_config(model)}
    assert all(torch.equal(again["state_dict"][name], weight) for name, weight in content["state_dict"].items())


def test_training_is_not_resumed_from_another_fusion(content):
    with pytest.raises(InputError, match="holds a LateFusion, the config names a EarlyFusion: name the same fusion"):
        tiny.fusion(EarlyFusion).on_load_checkpoint(content)


def test_differing_sizes_are_named_with_their_keys(content):
    other = tiny.fusion(LateFusion, text_encoder=tiny.transformer(dim=16))
    with pytest.raises(InputError, match=r"model\.init_args\.text_encoder\.init_args\.dim was 8, is 16"):
        other.on_load_checkpoint(content)


def test_settings_that_do_not_affect_weights_may_differ(content):
    tiny.fusion(LateFusion, text_encoder=tiny.transformer(dropout=0.5)).on_load_checkpoint(content)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokenizer": train_tokenizer([*tiny.TEXTS, "zebra zebra zebra zebra zebra zebra"])}, "word piece 5 was '"),
        ({"answers": ("no", "red", "maybe")}, "answer 2 was 'yes', is 'maybe'"),
        ({"answers": ("no", "red")}, "answer 2 was 'yes', is None"),
        ({"counts": (2.0, 1.0, 7.0)}, "the weight of answer 'yes' in training was 1, is 7"),
        ({"max_length": 9}, "vocabulary.max_length was 64, is 9"),
        ({"tokenizer": train_tokenizer(tiny.TEXTS, lowercase=True)}, "vocabulary.tokenizer.normalizer"),
    ],
    ids=["word", "answer", "fewer", "weight", "length", "letters"],
)
def test_another_vocabulary_is_refused_with_the_difference(content, changes, named):
    model = tiny.fusion(LateFusion, vocabulary=tiny.vocabulary(**changes))
    with pytest.raises(InputError, match="the checkpoint was trained with another vocabulary: ") as refused:
        model.on_load_checkpoint(content)
    assert named in str(refused.value)
    assert str(refused.value).endswith("start a new run from its weights with --model.init_from")


def test_a_number_that_is_repeated_counts_once(content, tmp_path):
    """Weights that claim terabytes, by views of one number or without any, allow no model of terabytes."""
    weights = {"w": torch.zeros(1).expand(10**6, 10**6), "m": torch.empty(10**6, 10**6, device="meta")}
    path = tmp_path / "theirs.ckpt"
    torch.save(content | {"state_dict": weights}, path)
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match="its weights do not fit its model"):
        checkpoint.load(path, LateFusion)
    limit = checkpoint._as_large_as(checkpoint.read(path)["state_dict"])
    with pytest.raises(InputError, match="the limit by the 4 bytes of weights"), limit:
        torch.nn.Linear(10_000, 10_000, device="cpu")
