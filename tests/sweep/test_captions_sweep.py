"""The arms of the captions comparison: equal in size, data and steps; each of them learns and decodes."""

import pytest
import torch
import yaml
from helpers import tiny
from helpers.command_line import CONF, ROOT

from velm_lightning import encoders, fusion
from velm_lightning.decoding import Greedy
from velm_lightning.encoders import LoRA
from velm_lightning.fusion.interleaved import CrossLayer
from velm_lightning.sweep.spec_file import read_spec
from velm_lightning.sweep.stages import arms, label, tuning
from velm_lightning.tasks import Generation
from velm_lightning.training import Optimization

FROZEN, ADAPTED = (ROOT / "sweeps" / f"captions_smollm2{ending}.yaml" for ending in ("", "_lora"))
ARMS = {
    arm["class_path"]: arm.get("init_args", {})
    for arm in yaml.safe_load(FROZEN.read_text())["parameters"]["model"]["values"]
}
PREFIX = yaml.safe_load((CONF / "visual_prefix.yaml").read_text())["model"]["init_args"]["connector"]
DEPTH, WIDTH, IMAGE_WIDTH = 30, 576, 1280  # of SmolLM2-135M and of MobileNetV2
TINY_LLAMA = tiny.TEXT_CONFIGS["llama"] | {
    "num_hidden_layers": 16, "hidden_size": 36, "num_attention_heads": 2, "initializer_range": 0.5
}  # fmt: skip


def connector_of(arm):
    config = ARMS[arm].get("connector", PREFIX)
    return getattr(encoders, config["class_path"])(**config["init_args"])


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_two_arms_with_five_seeds_and_two_with_two():
    frozen, adapted = read_spec(FROZEN), read_spec(ADAPTED)
    assert [label(mark) for mark in arms(frozen)] == [label(mark) for mark in arms(adapted)]
    assert (len(list(frozen.points())), len(list(adapted.points()))) == (2 * 5, 2 * 2)
    assert len(list(tuning(frozen).points())) == 2 * 3


def test_both_sweeps_have_the_same_data_steps_and_stopping():
    first, second = (yaml.safe_load(path.read_text())["parameters"] for path in (FROZEN, ADAPTED))
    differing = {"seed_everything", "model.init_args.optimization.learning_rate"}
    assert {key: first.get(key) for key in {*first, *second} - differing} == {
        key: second.get(key) for key in {*first, *second} - differing
    }


def test_the_arms_train_equal_numbers_of_parameters():
    prefix, connector = connector_of("EarlyFusion"), connector_of("InterleavedFusion")
    prefix.build(IMAGE_WIDTH, WIDTH)
    connector.build(IMAGE_WIDTH, WIDTH)
    settings = ARMS["InterleavedFusion"]
    layers = len(range(settings["first"], DEPTH, settings["every"]))
    inserted = layers * size(CrossLayer(WIDTH, settings["heads"], feed_forward=settings["feed_forward"]))
    assert layers == 6
    assert size(connector) + inserted == pytest.approx(size(prefix), rel=0.002)


@pytest.fixture(params=["frozen", "LoRA"])
def trunk(request):
    torch.manual_seed(0)
    adapters = {"lora": LoRA(targets=["q_proj", "v_proj"])} if request.param == "LoRA" else {"trainable": 0}
    return tiny.pretrained_text("llama", config=TINY_LLAMA, **adapters)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
def test_each_arm_learns_and_decodes(arm, trunk, sentences):
    given = {name: value for name, value in ARMS[arm].items() if name != "connector"}
    image = tiny.pretrained_image("hf-vit", trainable=0)
    task = Generation(head="pretrained", decoding=Greedy(max_length=5))
    parts = {"image_encoder": image, "text_encoder": trunk, "task": task, "connector": connector_of(arm)}
    model = tiny.fusion(getattr(fusion, arm), **parts, **given)
    start = model.eval().task.loss(model, sentences).item()
    optimizer = Optimization(learning_rate=0.03).configure(model.train(), 10)["optimizer"]
    for _ in range(10):
        optimizer.zero_grad()
        model.task.loss(model, sentences).backward()
        optimizer.step()
    assert model.eval().task.loss(model, sentences).item() < start
    words = {name for name, p in model.named_parameters() if p.grad is not None}
    assert all(".lora_" in name for name in words if name.startswith("text_encoder."))
    assert len(model.task.sentences(model, sentences)) == sentences.size
