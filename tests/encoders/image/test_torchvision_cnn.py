"""torchvision's classifiers as image encoders: which layer is read, what is frozen, and whose preprocessing counts.

No weights are downloaded: where published weights are named, a network with random ones stands in.
"""

import pytest
import torch
from torchvision import models

from velm_lightning.encoders import TorchvisionCNN
from velm_lightning.encoders.image import torchvision as torchvision_cnn
from velm_lightning.io import hub
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import ImageTransform, InputError

NAME = "mobilenet_v3_small"


@pytest.fixture
def published(monkeypatch):
    """Networks of published weights are built without them; returns the calls."""
    calls = []
    get_model = models.get_model

    def bare(name, weights=None):
        calls.append((name, weights))
        return get_model(name)

    monkeypatch.setattr(models, "get_model", bare)
    monkeypatch.setattr(torchvision_cnn, "check_file", lambda file: None)
    return calls


def pictures(size):
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("resnet18", 512), ("regnet_y_400mf", 440), (NAME, 576), ("vgg11", 512), ("efficientnet_b0", 1280),
        ("convnext_tiny", 768), ("densenet121", 1024),
    ],
)  # fmt: skip
def test_the_last_feature_cells_of_each_family_are_the_tokens(name, dim):
    encoder = TorchvisionCNN(name, weights=None, size=64)
    assert (encoder.dim, encoder.grid) == (dim, (2, 2))
    assert encoder(pictures(64)).embeddings.shape == (2, 4, dim)


def test_an_earlier_stage_has_more_cells():
    encoder = TorchvisionCNN("resnet18", weights=None, stage="layer3", size=64)
    assert (encoder.dim, encoder.grid) == (256, (4, 4))


def test_the_weights_preprocessing_is_the_transform(published):
    encoder = TorchvisionCNN(NAME, weights="IMAGENET1K_V1")
    preset = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.transforms()
    assert encoder.transform == ImageTransform(
        224, "crop", 224 / 256, "bilinear", tuple(preset.mean), tuple(preset.std)
    )
    assert encoder.pretrained
    assert published == [(NAME, models.MobileNet_V3_Small_Weights.IMAGENET1K_V1)]


def test_a_size_of_ones_own_squashes_the_picture_and_keeps_the_normalisation(published):
    encoder = TorchvisionCNN(NAME, weights="DEFAULT", size=64)
    assert encoder.transform[:3] == (64, "squash", 1.0)
    assert encoder.transform.mean == (0.485, 0.456, 0.406)


def test_random_weights_are_not_pretrained():
    assert not TorchvisionCNN(NAME, weights=None, size=64).pretrained


def test_all_is_frozen_by_default():
    encoder = TorchvisionCNN(NAME, weights=None, size=64)
    assert encoder.frozen
    encoder.train()
    assert not any(part.training for part in encoder.trunk.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert not encoder(pictures(64)).embeddings.requires_grad


def test_frozen_statistics_stay_put_in_training():
    encoder = TorchvisionCNN(NAME, weights=None, size=64).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(pictures(64))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", NAME])
def test_the_last_parts_may_go_on_learning(name):
    encoder = TorchvisionCNN(name, weights=None, trainable=1, size=64).train()
    learning = {parameter_name for parameter_name, p in encoder.named_parameters() if p.requires_grad}
    last = {"resnet18": "trunk.layer4.", NAME: "trunk.features.12."}[name]
    assert learning
    assert all(parameter_name.startswith(last) for parameter_name in learning)
    encoder(pictures(64)).embeddings.sum().backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == (parameter_name in learning)
    modes = {
        module_name: module.training
        for module_name, module in encoder.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert all(mode == f"{module_name}.".startswith(last) for module_name, mode in modes.items())


def test_everything_may_go_on_learning():
    encoder = TorchvisionCNN("squeezenet1_1", weights=None, trainable=-1, size=64)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_a_checkpoint_needs_no_published_weights(published):
    encoder = TorchvisionCNN(NAME, weights="DEFAULT", size=64)
    published.clear()
    again = build(to_config(encoder))
    assert published == [(NAME, None)]
    assert again.transform == encoder.transform
    assert again.pretrained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet5o", "weights": None}, "image_encoder.name='resnet5o' is not a torchvision model"),
        ({"name": NAME, "weights": "V9"}, f"image_encoder.weights='V9' does not exist: {NAME} has IMAGENET1K_V1"),
        ({"name": NAME, "weights": None, "stage": "layer9"}, "image_encoder.stage='layer9' is not a node of"),
        ({"name": "shufflenet_v2_x0_5", "weights": None}, "shufflenet_v2_x0_5 has no stage among"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(arguments, message):
    with pytest.raises(InputError, match=message):
        TorchvisionCNN(size=64, **arguments)


# Files of weights


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Where torchvision looks for a network's weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir(parents=True)
    return path


def squeezenet():
    return TorchvisionCNN("squeezenet1_1", weights="DEFAULT", size=64)


def test_weights_are_read_from_their_file(file, monkeypatch):
    monkeypatch.setattr(torchvision_cnn, "check_file", lambda _: None)  # random ones are not the published
    network = models.squeezenet1_1()
    torch.save(network.state_dict(), file)
    encoder = squeezenet()
    assert encoder.pretrained
    assert torch.equal(encoder.state_dict()["trunk.features.0.weight"], network.features[0].weight)


def test_a_file_that_is_not_the_published_one_is_refused(file):
    torch.save(models.squeezenet1_1().state_dict(), file)
    with pytest.raises(InputError, match=r"squeezenet1_1-b8a52dc0\.pth: is truncated or changed, .*: remove the file"):
        squeezenet()


class Trap:
    """What must never come to life when weights are read."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a weights file ran')",))


def test_code_in_a_file_of_weights_does_not_run(file, monkeypatch):
    monkeypatch.setattr(torchvision_cnn, "check_file", lambda _: None)  # 8 digits are soon forged
    torch.save({"features.0.weight": Trap()}, file)
    with pytest.raises(InputError, match=r"b8a52dc0\.pth: cannot be loaded as .*IMAGENET1K_V1"):
        squeezenet()


def test_without_a_network_nothing_is_downloaded(file, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("a download was begun"))
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE=1 disables downloads; save them as .*b8a52dc0\.pth"):
        squeezenet()


def test_weights_that_cannot_be_had_name_the_file_to_put_there(file, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "offline", lambda: False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        InputError, match=r"squeezenet1_1 are not available: no route to host; save them as .*b8a52dc0\.pth"
    ):
        squeezenet()
