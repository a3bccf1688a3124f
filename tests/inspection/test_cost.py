"""Counted floating-point operations equal explicit formulas; a multiply-add counts as two."""

import pytest
import torch
from helpers import tiny
from torch import nn

from velm_lightning.data.split import Split
from velm_lightning.encoders import Resampler
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, LateFusion
from velm_lightning.inspection.cost import flops, sample_flops
from velm_lightning.nn.attention import Block, attention_mask
from velm_lightning.tasks import Classification, Generation, MaskedLM, Mixture, Retrieval, SelfCritical
from velm_lightning.training.compiling import compile_layers
from velm_lightning.types import Tokens

DIM, EYES, PATCHES, VALUES = tiny.DIM, 12, 4, 3 * 8 * 8  # an image of 16 x 16 pixels in patches of 8 x 8
LAYERS = 2  # of the text encoder


def product(rows, inner, columns):
    """The operations of a (rows, inner) matrix times an (inner, columns) matrix."""
    return 2 * rows * inner * columns


def attention(queries, keys, dim):
    """Four projections and two products of every query with every key."""
    flops_of_attention = product(queries, dim, dim) + product(keys, dim, 2 * dim) + product(queries, dim, dim)
    return flops_of_attention + 2 * product(queries, dim, keys)


def feed_forward(tokens, dim):
    return product(tokens, dim, 4 * dim) + product(tokens, 4 * dim, dim)


def layer(tokens, dim, context=None):
    cross = 0 if context is None else attention(tokens, context, dim)
    return attention(tokens, tokens, dim) + cross + feed_forward(tokens, dim)


def recurrence(tokens, dim, gates):
    """Each gate of each word has the word and the previous state as input."""
    return gates * (product(tokens, dim, dim) + product(tokens, dim, dim))


IMAGE = product(PATCHES, VALUES, EYES) + layer(PATCHES, EYES) + product(PATCHES, EYES, DIM)  # the last: the connector
MERGE = product(1, DIM, DIM)  # of one vector


def classifier():
    return product(1, DIM, 2 * DIM) + product(1, 2 * DIM, len(tiny.ANSWERS))


def lm_head(words):
    return product(words, DIM, DIM) + product(words, DIM, tiny.vocabulary().size)


def sample_of(samples, index=1):
    """A batch of one sample, with its numbers of tokens and of target words."""
    batch = tiny.batch([samples[index]], tiny.vocabulary())
    return batch, batch.ids.shape[1], int((batch.block_ids > 0).sum())


def model_of(kind, **parts):
    return tiny.fusion(kind, **{"image_encoder": tiny.vit()} | parts)


def test_late_fusion_classifier():
    batch, tokens, _ = sample_of(tiny.questions())
    expected = IMAGE + LAYERS * layer(tokens, DIM) + MERGE + tokens * MERGE + classifier()
    assert flops(model_of(LateFusion), [batch]).inference == expected


def test_early_fusion_captioner_with_its_head():
    batch, tokens, words = sample_of(tiny.translations())
    expected = IMAGE + LAYERS * layer(PATCHES + tokens, DIM) + lm_head(words)
    assert flops(model_of(EarlyFusion, task=Generation()), [batch]).inference == expected


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_early_fusion_on_a_recurrent_captioner(cell, gates):
    batch, tokens, words = sample_of(tiny.translations())
    model = model_of(EarlyFusion, task=Generation(), text_encoder=tiny.recurrent(cell=cell, depth=2))
    read = PATCHES + tokens
    expected = IMAGE + 2 * recurrence(read, DIM, gates) + lm_head(words)
    counted = flops(model, [batch])
    assert counted.inference == expected
    # Backward, each product has two more: for its input and for its weight. The pixels, and the initial state of
    # zeros, need no gradient.
    unread = product(PATCHES, VALUES, EYES) + 2 * gates * product(1, DIM, DIM)
    assert counted.training == 3 * expected - unread


def test_interactive_fusion_classifier():
    batch, tokens, _ = sample_of(tiny.questions())
    fused = 2 * layer(tokens, DIM, PATCHES) + layer(PATCHES, DIM, tokens)  # the image stream has one layer less
    expected = IMAGE + LAYERS * layer(tokens, DIM) + fused + classifier()
    assert flops(model_of(InteractiveFusion, depth=2, heads=2), [batch]).inference == expected


def test_retrieval_of_an_image_by_its_text():
    batch, tokens, _ = sample_of(tiny.described())
    towers = 2 * product(1, DIM, 16) + product(1, 16, 1)
    pair = 2 * MERGE + product(1, DIM, DIM) + product(1, DIM, 1)
    expected = IMAGE + LAYERS * layer(tokens, DIM) + towers + pair
    assert flops(model_of(LateFusion, task=Retrieval(width=16)), [batch]).inference == expected


def test_the_backward_pass_is_counted():
    batch, _, _ = sample_of(tiny.questions())
    model = model_of(LateFusion)
    counted = flops(model, [batch])
    assert counted.training == 3 * counted.inference - product(PATCHES, VALUES, EYES)  # no gradient for the pixels
    model.image_encoder.requires_grad_(False)
    image = IMAGE - product(PATCHES, EYES, DIM)
    frozen = 3 * counted.inference - 2 * image - product(PATCHES, EYES, DIM)
    assert flops(model, [batch]).training == frozen


def test_samples_are_counted_at_their_own_width():
    words, samples = tiny.vocabulary(), tiny.questions()
    split = Split(tiny.Texts(samples, words), Pictures(samples))
    alone = [flops(model_of(LateFusion), [sample_of(samples, index)[0]]) for index in range(3)]
    counted = sample_flops(model_of(LateFusion), split)
    for name in ("training", "inference"):
        assert getattr(counted, name) == sum(getattr(sample_counts, name) for sample_counts in alone) // 3
    padded = flops(model_of(LateFusion), [tiny.batch(samples, words)])
    assert padded.inference > counted.inference


class Pictures:
    """Images in memory."""

    def __init__(self, samples):
        self.samples = samples

    def fetch(self, indices):
        return torch.stack([self.samples[i].image for i in indices])


TASKS = {
    "classification": (Classification, tiny.questions),
    "generation": (Generation, tiny.translations),
    "masked words": (MaskedLM, tiny.described),
    "retrieval": (Retrieval, tiny.described),
    "mixture": (lambda: Mixture({"masked": MaskedLM(), "retrieval": Retrieval()}), tiny.described),
    "self-critical": (SelfCritical, tiny.translations),
}


@pytest.mark.parametrize("task", TASKS)
def test_counting_changes_nothing_and_is_repeatable(task):
    make, samples = TASKS[task]
    torch.manual_seed(0)
    model = tiny.fusion(EarlyFusion, task=make()).train()  # with batch norm and dropout
    model.task.prepare(samples())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    batch, _, _ = sample_of(samples())
    assert flops(model, [batch]) == flops(model, [batch])
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


class Expanded(EarlyFusion):
    """A fusion with a learned token that is expanded to the batch without gradients."""

    def __init__(self, **parts):
        super().__init__(**parts)
        self.token, self.map = nn.Parameter(torch.zeros(1, 1, DIM)), nn.Linear(DIM, DIM)

    @torch.no_grad()
    def _extra(self, count):
        return self.map(self.token.expand(count, -1, -1))

    def fuse(self, image, text, cache=None):
        return super().fuse(image, text.with_embeddings(text.embeddings + self._extra(len(text.embeddings))), cache)


def test_an_expanded_parameter_is_counted():
    batch, _, _ = sample_of(tiny.questions())
    plain, counted = (flops(model_of(kind), [batch]) for kind in (EarlyFusion, Expanded))
    assert counted == (plain.training + product(1, DIM, DIM), plain.inference + product(1, DIM, DIM))


class ViT(tiny.SmallCNN):
    """A Vision Transformer of one layer, whose class token is expanded to the batch."""

    def __init__(self, size=tiny.SIZE, widths=(8, 8), dim=12):
        super().__init__(size=size, widths=widths, dim=dim)
        self.token, self.layer = nn.Parameter(torch.zeros(1, 1, dim)), Block(dim, 2)

    def class_tokens(self, count):
        return self.token.expand(count, -1, -1)

    def encode(self, pixels):
        x = torch.cat([self.class_tokens(len(pixels)), super().encode(pixels)], 1)
        every = Tokens.of_image(x)
        return self.layer(x, attention_mask(every, every))[:, 1:]


class RepeatedViT(ViT):
    """The same, with a copy of the class token per image."""

    def class_tokens(self, count):
        return self.token.repeat(count, 1, 1)


class QFormer(Resampler):
    """Learned queries that attend to the image and are expanded to the batch."""

    def forward(self, image):
        x = self.queries.expand(len(image.embeddings), -1, -1)
        mask, context = attention_mask(Tokens.of_image(x), image), self.image(image.embeddings)
        for layer in self.layers:
            x = layer(x, context=context, context_mask=mask)
        return Tokens.of_image(self.out(x))


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize(
    ("expanded", "repeated"),
    [
        ({"image_encoder": ViT}, {"image_encoder": RepeatedViT}),
        (
            {"connector": lambda: QFormer(count=3, heads=2, depth=1)},
            {"connector": lambda: Resampler(count=3, heads=2, depth=1)},
        ),
    ],
    ids=["ViT", "Q-Former"],
)
def test_expanded_tokens_of_a_vit_or_q_former_are_counted(expanded, repeated, frozen):
    batch, _, _ = sample_of(tiny.questions())

    def counted(parts):
        model = model_of(LateFusion, **{name: make() for name, make in parts.items()})
        for name in parts:
            getattr(model, name).requires_grad_(not frozen)
        return flops(model, [batch])

    assert counted(expanded) == counted(repeated)
    assert counted(expanded).inference > 0


def test_compiled_layers_are_counted_as_eager_ones():
    batch, _, _ = sample_of(tiny.questions())
    model = model_of(LateFusion)
    expected = flops(model, [batch])
    compile_layers(model, backend=refused)
    assert flops(model, [batch]) == expected


def refused(graph, inputs):
    raise AssertionError("nothing is to be compiled for a count")


def test_fused_convolutions_are_counted_alike(monkeypatch):
    """Only recurrent cells need the slow kernels, whose convolutions take most of the time of a count."""
    model, enabled = model_of(LateFusion), []
    split = Split(tiny.Texts(tiny.questions(), tiny.vocabulary()), Pictures(tiny.questions()))
    model.image_encoder.register_forward_hook(lambda *_: enabled.append(torch.backends.mkldnn.enabled))
    cost = sample_flops(model, split)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert sample_flops(model, split) == cost
    assert enabled == sorted(enabled, reverse=True)
    assert {*enabled} == {True, False}


def test_an_error_in_counting_is_a_warning():
    model = model_of(LateFusion)
    split = Split(tiny.Texts(tiny.questions(), tiny.vocabulary()), Pictures(tiny.questions()))
    model.image_encoder.encode = lambda pixels: 1 / 0
    with pytest.warns(UserWarning, match="FLOPs were not counted: ZeroDivisionError: division by zero"):
        assert sample_flops(model, split) is None
    assert model.training
    assert torch.backends.mkldnn.enabled
    assert torch.backends.mha.get_fastpath_enabled()
