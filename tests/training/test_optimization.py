"""AdamW: the parameters that are decayed and the learning rate of each."""

import math

import pytest
import torch
from helpers import tiny
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from velm_lightning.encoders import Resampler, VideoEncoder
from velm_lightning.fusion import InteractiveFusion, LateFusion
from velm_lightning.tasks import Drawing, Generation
from velm_lightning.tasks.scene_judge import SceneJudge
from velm_lightning.training import LinearDecay, Optimization
from velm_lightning.types import InputError


@pytest.fixture
def model():
    return tiny.fusion(InteractiveFusion, heads=2, gated=True)


def names_of(model, group):
    members = {id(p) for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in members}


def test_every_parameter_is_in_one_group(model):
    given = [id(p) for group in Optimization().groups(model) for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())


def test_norms_biases_gates_and_embeddings_are_not_decayed(model):
    groups = Optimization(weight_decay=0.3).groups(model)
    decayed = set().union(*(names_of(model, group) for group in groups if group["weight_decay"] == 0.3))
    undecayed = set().union(*(names_of(model, group) for group in groups if group["weight_decay"] == 0))
    assert decayed | undecayed == {name for name, _ in model.named_parameters()}
    assert all(
        name in undecayed for name in (n for n, _ in model.named_parameters()) if name.endswith((".bias", ".gate"))
    )
    norms = [name for name, part in model.named_modules() if isinstance(part, nn.LayerNorm | nn.GroupNorm)]
    assert norms
    assert all(f"{name}.weight" in undecayed for name in norms)
    assert "text_encoder.embedding.weight" in undecayed
    assert "text_layers.0.cross_attention.query.weight" in decayed
    assert "image_encoder.stages.0.0.weight" in decayed


def test_pretrained_parts_learn_at_a_fraction_of_the_rate(model):
    model.image_encoder.pretrained = True
    for group in Optimization(learning_rate=0.01, pretrained_lr_scale=0.2).groups(model):
        of_images = {name.startswith("image_encoder.") for name in names_of(model, group)}
        assert of_images in ({True}, {False})
        assert group["lr"] == pytest.approx(0.002 if of_images == {True} else 0.01)


def test_frozen_parameters_are_left_out(model):
    model.image_encoder.requires_grad_(False)
    names = set().union(*(names_of(model, group) for group in Optimization().groups(model)))
    assert not any(name.startswith("image_encoder.") for name in names)
    assert any(name.startswith("connector.") for name in names)


def built(part, *arguments):
    part.build(*arguments)
    return part


EMBEDDINGS = "model.embeddings"


@pytest.mark.parametrize(
    ("make", "vectors"),
    [
        (tiny.cnn, {"position"}),
        (tiny.vit, {"position"}),
        (lambda: VideoEncoder(tiny.cnn(), frames=2), {"time", "encoder.position"}),
        (lambda: built(tiny.transformer(), tiny.vocabulary()), {"position", "embedding.weight"}),
        (lambda: built(Resampler(count=2), 12, tiny.DIM), {"queries"}),
        (lambda: built(Drawing(SceneJudge()), tiny.vocabulary(), tiny.transformer()), {"position"}),
        (lambda: tiny.pretrained_image("hf-vit"), {f"{EMBEDDINGS}.cls_token", f"{EMBEDDINGS}.position_embeddings"}),
        (lambda: tiny.pretrained_image("dinov2"), {f"{EMBEDDINGS}.cls_token", f"{EMBEDDINGS}.position_embeddings"}),
    ],
)
def test_learned_positions_and_query_vectors_are_not_decayed(make, vectors):
    part = make()
    groups = Optimization().groups(part)
    decayed = set().union(*(names_of(part, group) for group in groups if group["weight_decay"]))
    assert vectors <= {name for name, _ in part.named_parameters()} - decayed
    assert decayed
    assert all(name.endswith("weight") for name in decayed)


class Holder(nn.Module):
    """Parameters that a module holds itself."""

    def __init__(self):
        super().__init__()
        self.core_weight = nn.Parameter(torch.ones(2, 3))
        self.experts = nn.Parameter(torch.ones(2, 3, 4))
        self.prompts = nn.Parameter(torch.ones(5, 3))
        self.class_token = nn.Parameter(torch.ones(1, 1, 3))
        self.layer_scale = nn.Parameter(torch.ones(3, 1, 1))
        self.linear = weight_norm(nn.Linear(3, 3))
        self.bag = nn.EmbeddingBag(4, 3)


def test_a_matrix_of_a_module_is_decayed_if_its_name_says_weight():
    model = Holder()
    (decayed,) = (names_of(model, group) for group in Optimization().groups(model) if group["weight_decay"])
    matrices = {f"linear.parametrizations.weight.original{part}" for part in (0, 1)}
    assert decayed == {"core_weight", "experts"} | matrices


def test_a_parameter_that_two_parts_share_is_given_once():
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    model[1].weight = model[0].weight
    groups = Optimization().groups(model)
    assert [len(group["params"]) for group in groups] == [1]
    assert groups[0]["weight_decay"] == 0


def test_the_optimiser_follows_the_schedule_step_by_step(model):
    optimization = Optimization(learning_rate=0.01, schedule=LinearDecay(warmup_ratio=0.2), pretrained_lr_scale=0.5)
    model.image_encoder.pretrained = True
    configured = optimization.configure(model, 10)
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    assert isinstance(optimizer, torch.optim.AdamW)
    for step in range(10):
        factor = optimization.schedule.plan(10)(step)
        assert {round(group["lr"], 12) for group in optimizer.param_groups} == {
            round(0.01 * factor, 12),
            round(0.005 * factor, 12),
        }
        optimizer.step()
        schedule.step()


def test_the_arguments_reach_adamw(model):
    optimizer = Optimization(betas=(0.7, 0.8), weight_decay=0.2).configure(model, 10)["optimizer"]
    assert all(group["betas"] == (0.7, 0.8) for group in optimizer.param_groups)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.2}


def test_a_model_memorises_a_batch(batch):
    model = tiny.fusion(LateFusion, optimization=Optimization(learning_rate=0.02, weight_decay=0.0))
    configured = model.optimization.configure(model, 60)
    losses = []
    for _ in range(60):
        loss = model.task.loss(model, batch)
        configured["optimizer"].zero_grad()
        loss.backward()
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
        losses.append(loss.item())
    rows = model.eval().task.predict(model, batch)
    assert [row.prediction for row in rows] == ["no", "yes", "red"]
    assert losses[-1] < 0.5 * losses[0]


# Layers of pretrained encoders


def rates(model, optimization):
    return {name: group["lr"] for group in optimization.groups(model) for name in names_of(model, group)}


def test_lower_pretrained_layers_have_a_lower_rate():
    model = tiny.fusion(LateFusion, text_encoder=tiny.pretrained_text("bert"))
    model.text_encoder.pretrained = True
    learning_rates = rates(model, Optimization(learning_rate=1.0, pretrained_lr_scale=0.5, layer_decay=0.1))
    text = "text_encoder.model.encoder.layer"
    assert learning_rates[f"{text}.1.output.dense.weight"] == pytest.approx(0.5)
    assert learning_rates[f"{text}.0.output.dense.weight"] == pytest.approx(0.05)
    assert learning_rates["text_encoder.embedding.weight"] == pytest.approx(0.005)
    assert learning_rates["connector.map.0.weight"] == learning_rates["image_encoder.stages.0.0.weight"] == 1.0


@pytest.mark.parametrize(
    ("kind", "head"),
    [("gpt2", "pretrained"), ("bert", "tied")],
)
def test_a_tied_word_embedding_has_the_rate_of_the_embedding(kind, head):
    model = tiny.fusion(LateFusion, text_encoder=tiny.pretrained_text(kind), task=Generation(head=head))
    model.text_encoder.pretrained = model.task.head.pretrained = True
    assert model.task.head.weight is model.text_encoder.embedding.weight
    learning_rates = rates(model, Optimization(learning_rate=1.0, pretrained_lr_scale=0.5, layer_decay=0.1))
    assert learning_rates["text_encoder.embedding.weight"] == pytest.approx(0.005)


def test_an_untied_pretrained_head_has_the_rate_of_the_top():
    model = tiny.fusion(LateFusion, text_encoder=tiny.pretrained_text("llama"), task=Generation(head="pretrained"))
    model.text_encoder.pretrained = model.task.head.pretrained = True
    learning_rates = rates(model, Optimization(learning_rate=1.0, pretrained_lr_scale=0.5, layer_decay=0.1))
    assert learning_rates["text_encoder.embedding.weight"] == pytest.approx(0.005)
    assert learning_rates["task.head.weight"] == pytest.approx(0.5)


def test_layers_have_the_same_rate_by_default():
    model = tiny.fusion(LateFusion, text_encoder=tiny.pretrained_text("bert"))
    model.text_encoder.pretrained = True
    assert set(rates(model, Optimization(learning_rate=1.0, pretrained_lr_scale=0.5)).values()) == {0.5, 1.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (-1.0, math.nan, math.inf)),
        *(("weight_decay", -0.1), ("layer_decay", math.inf), ("pretrained_lr_scale", -1.0), ("betas", (0.9, 1.0))),
    ],
)
def test_numbers_that_no_optimiser_takes_are_refused(name, value):
    with pytest.raises(InputError, match=rf"optimization\.{name} must be .*at least 0"):
        Optimization(**{name: value})
