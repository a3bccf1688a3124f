"""Torchvision classifiers as image encoders: the feature node, freezing, and preprocessing.

No weights are downloaded: networks with random weights replace those with published ones.
"""

import pytest
import torch
from torchvision import models

from velm_lightning.encoders import TorchvisionCNN
from velm_lightning.encoders.image import torchvision as torchvision_cnn
from velm_lightning.io import hub
from velm_lightning.io.allow.allowlist import permissions
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import ImageTransform, InputError

NAME = "mobilenet_v3_small"


@pytest.fixture
def published(monkeypatch):
    """Build networks without their published weights; return the list of calls."""
    calls = []
    get_model = models.get_model

    def untrained(name, weights=None):
        calls.append((name, weights))
        return get_model(name)

    monkeypatch.setattr(models, "get_model", untrained)
    monkeypatch.setattr(torchvision_cnn, "check_file", lambda file: None)
    return calls


def images(size):
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("resnet18", 512), ("regnet_y_400mf", 440), (NAME, 576), ("vgg11", 512), ("efficientnet_b0", 1280),
        ("convnext_tiny", 768), ("densenet121", 1024),
    ],
)  # fmt: skip
def test_the_last_feature_map_gives_the_tokens(name, dim):
    encoder = TorchvisionCNN(name, weights=None, size=64)
    assert (encoder.dim, encoder.grid) == (dim, (2, 2))
    assert encoder(images(64)).embeddings.shape == (2, 4, dim)


def test_an_earlier_stage_has_more_cells():
    encoder = TorchvisionCNN("resnet18", weights=None, stage="layer3", size=64)
    assert (encoder.dim, encoder.grid) == (256, (4, 4))


def test_the_preprocessing_of_the_weights_is_the_transform(published):
    encoder = TorchvisionCNN(NAME, weights="IMAGENET1K_V1")
    preset = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.transforms()
    assert encoder.transform == ImageTransform(
        224, "crop", 224 / 256, "bilinear", tuple(preset.mean), tuple(preset.std)
    )
    assert encoder.pretrained
    assert published == [(NAME, models.MobileNet_V3_Small_Weights.IMAGENET1K_V1)]


def test_another_size_squashes_and_keeps_the_normalisation(published):
    encoder = TorchvisionCNN(NAME, weights="DEFAULT", size=64)
    assert encoder.transform[:3] == (64, "squash", 1.0)
    assert encoder.transform.mean == (0.485, 0.456, 0.406)


def test_random_weights_are_not_pretrained():
    assert not TorchvisionCNN(NAME, weights=None, size=64).pretrained


def test_the_network_is_frozen_by_default():
    encoder = TorchvisionCNN(NAME, weights=None, size=64)
    assert encoder.frozen
    encoder.train()
    assert not any(part.training for part in encoder.trunk.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert not encoder(images(64)).embeddings.requires_grad


def test_frozen_batch_norm_statistics_do_not_change():
    encoder = TorchvisionCNN(NAME, weights=None, size=64).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(images(64))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", NAME])
def test_only_the_last_parts_are_trainable(name):
    encoder = TorchvisionCNN(name, weights=None, trainable=1, size=64).train()
    learning = {parameter_name for parameter_name, p in encoder.named_parameters() if p.requires_grad}
    last = {"resnet18": "trunk.layer4.", NAME: "trunk.features.12."}[name]
    assert learning
    assert all(parameter_name.startswith(last) for parameter_name in learning)
    encoder(images(64)).embeddings.sum().backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == (parameter_name in learning)
    modes = {
        module_name: module.training
        for module_name, module in encoder.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert all(mode == f"{module_name}.".startswith(last) for module_name, mode in modes.items())


def test_the_whole_network_can_be_trainable():
    encoder = TorchvisionCNN("squeezenet1_1", weights=None, trainable=-1, size=64)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_a_checkpoint_loads_without_published_weights(published):
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
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        TorchvisionCNN(size=64, **arguments)


# Files of weights


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The path at which torchvision looks for the weights of a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir(parents=True)
    return path


def squeezenet():
    return TorchvisionCNN("squeezenet1_1", weights="DEFAULT", size=64)


def test_weights_are_loaded_from_their_file(file, monkeypatch):
    monkeypatch.setattr(torchvision_cnn, "check_file", lambda _: None)  # random weights do not match the published hash
    network = models.squeezenet1_1()
    torch.save(network.state_dict(), file)
    encoder = squeezenet()
    assert encoder.pretrained
    assert torch.equal(encoder.state_dict()["trunk.features.0.weight"], network.features[0].weight)


def test_a_file_with_another_hash_is_refused(file):
    torch.save(models.squeezenet1_1().state_dict(), file)
    with pytest.raises(InputError, match=r"squeezenet1_1-b8a52dc0\.pth: is truncated or changed, .*: remove the file"):
        squeezenet()


class Trap:
    """An object that must never be unpickled when weights are loaded."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a weights file ran')",))


def test_code_in_a_weights_file_does_not_run(file, monkeypatch):
    monkeypatch.setattr(torchvision_cnn, "check_file", lambda _: None)  # 8 digits of a hash can be forged
    torch.save({"features.0.weight": Trap()}, file)
    with pytest.raises(InputError, match=r"b8a52dc0\.pth: cannot be loaded as .*IMAGENET1K_V1"):
        squeezenet()


def test_nothing_is_downloaded_offline(file, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("a download started"))
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE=1 disables downloads; save them as .*b8a52dc0\.pth"):
        squeezenet()


def test_a_download_needs_the_word_of_the_command_line(file, monkeypatch):
    monkeypatch.setattr(hub, "offline", lambda: False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("a download started"))
    with permissions(["fit"]), pytest.raises(InputError, match="squeezenet1_1.* nothing was opened: .*--allow-network"):
        squeezenet()


def test_the_error_for_unavailable_weights_names_their_path(file, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "offline", lambda: False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        InputError, match=r"squeezenet1_1 are not available: no route to host; save them as .*b8a52dc0\.pth"
    ):
        squeezenet()
