"""Properties of every fusion with every image encoder, every text encoder and every task.

A new fusion, encoder or task is added by one line in the tables below.
"""

import copy
import itertools
from functools import partial

import pytest
import torch
from helpers import tiny
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from velm_lightning.checkpoints import checkpoint
from velm_lightning.encoders import PatchEmbedding
from velm_lightning.fusion import (
    BilinearAttention,
    BlockTerm,
    BottleneckFusion,
    Concat,
    DeepStackFusion,
    EarlyFusion,
    FactorizedBilinear,
    FiLM,
    Fusion,
    GatedMultimodalUnit,
    ImageOnly,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    LowRankBilinear,
    MergedFusion,
    MixtureOfTransformers,
    Mutan,
    Product,
    Sum,
    TensorFusion,
    TextOnly,
)
from velm_lightning.io.configurable import to_config
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.tasks import Classification, Generation, MaskedLM, Mixture, Retrieval
from velm_lightning.types import TextInput, Tokens

INTERACTIVE = {"depth": 2, "heads": 2}
FUSIONS = {
    "early": lambda **parts: EarlyFusion(**parts),
    "early-join": lambda **parts: EarlyFusion(join=1, **parts),
    "early-leave": lambda **parts: EarlyFusion(leave=1, **parts),
    "deep-stack": lambda **parts: DeepStackFusion(**parts),
    "deep-stack-join": lambda **parts: DeepStackFusion(join=1, **parts),
    "mixture": lambda **parts: MixtureOfTransformers(**parts),
    "mixture-join": lambda **parts: MixtureOfTransformers(join=1, **parts),
    "interleaved": lambda **parts: InterleavedFusion(heads=2, **parts),
    "interleaved-plain": lambda **parts: InterleavedFusion(1, heads=2, gated=False, feed_forward=False, **parts),
    "late-concat": lambda **parts: LateFusion(merge=Concat(), **parts),
    "late-sum": lambda **parts: LateFusion(merge=Sum(), **parts),
    "late-product": lambda **parts: LateFusion(merge=Product(), **parts),
    "late-gate": lambda **parts: LateFusion(merge=GatedMultimodalUnit(), **parts),
    "late-lowrank": lambda **parts: LateFusion(merge=LowRankBilinear(rank=6), **parts),
    "late-tensor": lambda **parts: LateFusion(merge=TensorFusion(size=3), **parts),
    "late-mutan": lambda **parts: LateFusion(merge=Mutan(size=4, rank=2), **parts),
    "late-factorized": lambda **parts: LateFusion(merge=FactorizedBilinear(factors=2), **parts),
    "late-block": lambda **parts: LateFusion(merge=BlockTerm(size=6, chunks=2, rank=2), **parts),
    "late-ban": lambda **parts: LateFusion(merge=BilinearAttention(rank=6), **parts),
    "late-film": lambda **parts: LateFusion(merge=FiLM(), **parts),
    "merged": lambda **parts: MergedFusion(heads=2, **parts),
    "bottleneck": lambda **parts: BottleneckFusion(count=2, heads=2, **parts),
    "interactive-co": lambda **parts: InteractiveFusion(**INTERACTIVE, **parts),
    "interactive-text": lambda **parts: InteractiveFusion(co_attention=False, **INTERACTIVE, **parts),
    "interactive-co-gated": lambda **parts: InteractiveFusion(gated=True, **INTERACTIVE, **parts),
    "interactive-text-gated": lambda **parts: InteractiveFusion(co_attention=False, gated=True, **INTERACTIVE, **parts),
    "text-only": lambda **parts: TextOnly(**parts),
    "image-only": lambda **parts: ImageOnly(**parts),
}
IMAGE_ENCODERS = {
    "cnn": tiny.cnn,
    "vit": partial(tiny.vit, depth=2),
    "patches": lambda: PatchEmbedding(size=tiny.SIZE, patch=8, dim=12),
    **{kind: partial(tiny.pretrained_image, kind) for kind in ("hf-vit", "clip", "siglip", "dinov2", "resnet")},
}
TEXT_ENCODERS = {
    "transformer": tiny.transformer,
    "causal": partial(tiny.transformer, causal=True),
    "lstm": lambda: tiny.recurrent(cell="lstm"),
    "gru": lambda: tiny.recurrent(cell="gru", depth=2),
    **{kind: partial(tiny.pretrained_text, kind) for kind in ("bert", "gpt2", "llama")},
}
TASKS = {  # a task, and samples that suit it
    "softmax": (Classification, tiny.questions),
    "sigmoid": (lambda: Classification(loss="sigmoid"), tiny.questions),
    "generation": (Generation, tiny.translations),
    "retrieval": (lambda: Retrieval(width=6), tiny.described),
    "masked": (MaskedLM, tiny.described),
    "mixture": (lambda: Mixture({"words": MaskedLM(), "pairs": Retrieval(width=6)}, {"pairs": 0.5}), tiny.described),
}
STACKS, MIXTURES = ("deep-stack", "deep-stack-join"), ("mixture", "mixture-join")
ACTS_IN_LAYERS = {"early-join", "early-leave", "interleaved", "interleaved-plain", *STACKS, *MIXTURES}
REFUSED = [  # fusions and encoders whose combination is an error that names it
    *itertools.product(ACTS_IN_LAYERS, ("lstm", "gru")),
    *itertools.product(STACKS, ("patches", "resnet")),
    *itertools.product(MIXTURES, ("bert", "gpt2", "llama")),
]
READS_BOTH_WAYS = {"transformer", "bert"}
NEEDS_BOTH_WAYS = {"masked", "mixture"}
GRID = list(itertools.product(FUSIONS, ("cnn", "vit"), ("transformer", "lstm", "gru")))
GRID += [  # models of transformers: each with a fusion of every family, and two at a time
    (fusion, image, text)
    for fusion in ("early", "late-gate", "interactive-co", "text-only", "image-only")
    for image, text in (("hf-vit", "bert"), ("clip", "gpt2"), ("resnet", "llama"))
]
PAIRS = (("siglip", "bert"), ("dinov2", "llama"), ("cnn", "causal"))
GRID += [(fusion, *pair) for fusion in ("early", "late-sum") for pair in PAIRS]
GRID += [("early", "patches", "transformer")]
GRID += list(itertools.product(sorted(ACTS_IN_LAYERS), ("cnn",), ("causal", "bert", "gpt2", "llama")))
GRID += list(itertools.product(["merged", "bottleneck", "late-ban"], ("cnn",), ("causal", "bert", "gpt2", "llama")))
GRID += [
    ("deep-stack", *pair) for pair in (("vit", "causal"), ("hf-vit", "bert"), ("clip", "llama"), ("siglip", "gpt2"))
]
GRID = [cell for cell in GRID if not {(cell[0], cell[1]), (cell[0], cell[2])} & set(REFUSED)]
# Of fusions that differ from another in one place only, one image encoder and one or two trunks suffice by default.
VARIANTS = {"late-mutan", "late-factorized", "late-block", "late-ban", "late-film", "merged", "bottleneck"}
VARIANTS |= ACTS_IN_LAYERS
REDUNDANT = [
    cell for cell in GRID if cell[0] in VARIANTS and (cell[1] != "cnn" or cell[2] not in ("transformer", "llama"))
]
REDUNDANT.remove(("deep-stack", "clip", "llama"))
# Parts for the class token of CLIP, the pooled vector of SigLIP, the masks of DINOv2: our tokens do not depend on them.
# In transformers 5.0 they are parts of ``vision_model``.
UNREAD = (".model.post_layernorm.", ".model.head.", "vision_model.post_layernorm.", "vision_model.head.", ".mask_token")
CLOSE = {"atol": 1e-10, "rtol": 0.0}  # the models below compute in double precision


def build(fusion, image, text, task="softmax"):
    """Return the model of a cell of the grid; every gate is half open, because a closed one would hide its branch."""
    torch.manual_seed(0)
    parts = {"vocabulary": tiny.vocabulary(), "task": TASKS[task][0]()}
    model = FUSIONS[fusion](image_encoder=IMAGE_ENCODERS[image](), text_encoder=TEXT_ENCODERS[text](), **parts)
    for name, parameter in model.named_parameters():
        if name.endswith("gate"):
            torch.nn.init.constant_(parameter, 0.5)
    return model


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    """Replace the norm of Llama, which computes in single precision for any input."""
    with pytest.MonkeyPatch.context() as patch:
        norm = torch.nn.functional.rms_norm
        patch.setattr(LlamaRMSNorm, "forward", lambda n, x: norm(x, x.shape[-1:], n.weight, n.variance_epsilon))
        yield


def case(*values):
    """Return a case of a test, which runs by default unless its cell, the first value, is redundant."""
    return pytest.param(*values, marks=pytest.mark.slow if values[0] in REDUNDANT else ())


@pytest.fixture(params=[case(cell) for cell in GRID], ids="-".join, scope="module")
def model(request):
    """Shared by the tests below, which must not change it."""
    return build(*request.param).double().eval()


def sees_image(model):
    return not isinstance(model, TextOnly)


def sees_prompt(model):
    return not isinstance(model, ImageOnly)


def widened(batch, columns, pad):
    """Return the batch with more columns of padding."""
    more = torch.nn.functional.pad
    return batch._replace(
        ids=more(batch.ids, (0, columns), value=pad),
        mask=more(batch.mask, (0, columns)),
        block_ids=more(batch.block_ids, (0, columns)),
        target_mask=more(batch.target_mask, (0, columns)),
    )


WORDS = ("ids", "mask", "block_ids", "target_mask")


def row(batch, index):
    """Return one sample as a batch, without padding."""
    length = int(batch.mask[index].sum())
    places = {name: getattr(batch, name)[index : index + 1, :length] for name in WORDS}
    others = {name: value[index : index + 1] for name, value in batch._asdict().items() if name not in places}
    return type(batch)(**places, **others)


def with_word(batch, index, place, word):
    """Return the batch with another word at one position."""
    ids = batch.ids.clone()
    assert ids[index, place] != word
    ids[index, place] = word
    return batch._replace(ids=ids)


@torch.no_grad()
def test_states_have_the_positions_of_the_text(model, sentences):
    states = model(sentences)
    assert states.embeddings.shape == (*sentences.ids.shape, tiny.DIM)
    assert torch.equal(states.mask, sentences.mask)
    assert torch.equal(states.block_ids, sentences.block_ids)
    assert states.embeddings[sentences.mask].isfinite().all()


@torch.no_grad()
def test_no_token_attends_to_a_later_target_word(model, sentences):
    before = model(sentences)
    index = 2  # the longest sentence, after an empty prompt
    for block in range(1, int(sentences.block_ids[index].max()) + 1):
        place = int((sentences.block_ids[index] == block).nonzero())
        after = model(with_word(sentences, index, place, model.vocabulary.unknown))
        earlier = sentences.block_ids[index] < block
        torch.testing.assert_close(after.embeddings[index, earlier], before.embeddings[index, earlier], **CLOSE)
        assert not torch.allclose(after.embeddings[index, place], before.embeddings[index, place], **CLOSE), (
            "the word itself must matter"
        )
        torch.testing.assert_close(model.pool(after), model.pool(before), **CLOSE)


@torch.no_grad()
def test_a_target_word_attends_to_earlier_words(model, sentences):
    place = int((sentences.block_ids[2] == 1).nonzero())
    after = model(with_word(sentences, 2, place, model.vocabulary.unknown))
    change = (after.embeddings - model(sentences).embeddings)[2].abs().amax(-1)
    assert (change[sentences.block_ids[2] >= 1] > 1e-9).all()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["batch", "sentences"])
def test_padding_changes_nothing(model, kind, request):
    batch = request.getfixturevalue(kind)
    whole = model(batch)
    wider = model(widened(batch, 3, model.vocabulary.pad))
    torch.testing.assert_close(
        wider.embeddings[:, : batch.ids.shape[1]][batch.mask], whole.embeddings[batch.mask], **CLOSE
    )
    torch.testing.assert_close(model.pool(wider), model.pool(whole), **CLOSE)
    for index in range(batch.size):
        alone = model(row(batch, index))
        torch.testing.assert_close(alone.embeddings[0], whole.embeddings[index][batch.mask[index]], **CLOSE)
        torch.testing.assert_close(model.pool(alone)[0], model.pool(whole)[index], **CLOSE)


@torch.no_grad()
def test_words_on_padding_change_nothing(model, batch):
    other = batch._replace(ids=batch.ids.where(batch.mask, torch.tensor(model.vocabulary.mask)))
    assert not torch.equal(other.ids, batch.ids)
    torch.testing.assert_close(model(other).embeddings[batch.mask], model(batch).embeddings[batch.mask], **CLOSE)


@torch.no_grad()
def test_the_position_in_the_batch_changes_nothing(model, batch):
    turned = type(batch)(*(field[::-1] if isinstance(field, tuple) else field.flip(0) for field in batch))
    torch.testing.assert_close(model.pool(model(turned)).flip(0), model.pool(model(batch)), **CLOSE)


@torch.no_grad()
def test_the_image_matters_except_to_text_only(model, batch):
    before, after = model(batch), model(batch._replace(image=batch.image.flip(0)))
    for index in (0, 2):  # the middle image stays
        same = torch.allclose(model.pool(after)[index], model.pool(before)[index], **CLOSE)
        assert same == (not sees_image(model))
    torch.testing.assert_close(model.pool(after)[1], model.pool(before)[1], **CLOSE)


@torch.no_grad()
def test_the_image_matters_to_every_target_word(model, sentences):
    after = model(sentences._replace(image=sentences.image.flip(0)))
    change = (after.embeddings - model(sentences).embeddings).abs().amax(-1)[0]
    targets = sentences.block_ids[0] > 0
    assert (change[targets] > 1e-9).all() if sees_image(model) else (change == 0).all()


@torch.no_grad()
def test_every_prompt_word_matters_except_to_image_only(model, batch):
    before = model.pool(model(batch))
    for place in range(1, int(batch.mask[0].sum()) - 1):
        after = model.pool(model(with_word(batch, 0, place, model.vocabulary.unknown)))
        assert torch.allclose(after[0], before[0], **CLOSE) == (not sees_prompt(model))
        torch.testing.assert_close(after[1:], before[1:], **CLOSE)


@torch.no_grad()
def test_image_only_hides_the_length_of_the_prompt(model, batch):
    first = torch.zeros(batch.size, dtype=torch.long)
    summaries = model.pool(model(batch._replace(image=batch.image[first])))  # one image, three prompts
    alike = torch.allclose(summaries, summaries[:1].expand_as(summaries), **CLOSE)
    assert alike == (not sees_prompt(model))


@torch.no_grad()
def test_stepwise_states_with_a_cache_equal_those_at_once(model, sentences):
    whole, prompt = model(sentences), sentences.mask & (sentences.block_ids == 0)
    cache, width = Cache(max_new_tokens=int(sentences.block_ids.max())), int(prompt.sum(1).max())
    first = TextInput(sentences.ids[:, :width], prompt[:, :width], torch.zeros_like(sentences.block_ids[:, :width]))
    states = model.fuse(model.encode_image(sentences.image), model.embed_text(first, cache), cache)
    torch.testing.assert_close(states.embeddings[first.mask], whole.embeddings[prompt], **CLOSE)
    torch.testing.assert_close(model.pool(states), model.pool(whole), **CLOSE)
    for block in range(1, int(sentences.block_ids.max()) + 1):
        place = sentences.block_ids == block  # at most one a row; rows that have ended are given any word
        ids = (sentences.ids * place).sum(1, keepdim=True)
        word = TextInput(ids, torch.ones_like(ids).bool(), torch.full_like(ids, block))
        states = model.fuse(None, model.embed_text(word, cache), cache)
        torch.testing.assert_close(states.embeddings[place.any(1), 0], whole.embeddings[place], **CLOSE)


@torch.no_grad()
def test_all_pairs_combine_every_text_with_every_image(model, batch):
    image, text = model.encode_image(batch.image), model.embed_text(batch.words)
    pairs = model.fuse_all_pairs(image, text)
    torch.testing.assert_close(pairs.diagonal().T, model.pool(model(batch)), **CLOSE)
    for shift in (1, 2):
        turned = model(batch._replace(image=batch.image.roll(-shift, 0)))
        rows = torch.arange(batch.size)
        torch.testing.assert_close(pairs[(rows + shift) % batch.size, rows], model.pool(turned), **CLOSE)


@torch.no_grad()
def test_all_pairs_allow_different_numbers_of_each(model, batch):
    image, text = model.encode_image(batch.image), model.embed_text(batch.words)
    few, rest = torch.tensor([2]), torch.tensor([0, 1])
    torch.testing.assert_close(
        model.fuse_all_pairs(image.rows(few), text.rows(rest)), model.fuse_all_pairs(image, text)[few][:, rest], **CLOSE
    )


@torch.no_grad()
def test_a_clip_is_encoded_as_more_tokens(model, batch):
    clip = torch.stack([batch.image, batch.image.flip(0)], dim=1)  # (B, 2, 3, H, W)
    before, after = model(batch), model(batch._replace(image=clip))
    assert after.embeddings.shape == before.embeddings.shape
    assert torch.allclose(after.embeddings, before.embeddings, **CLOSE) == (not sees_image(model))


def silent(model, name):
    """Return whether the gradient of a parameter exists but is zero by the design of the model."""
    # The image-only control puts one learned vector in the place of each prompt word: the words reach no answer.
    unread = ("text_encoder.embedding.", "text_encoder.position")
    # For a control, all images or all texts are equal, so that parameters for their differences get no gradient.
    alike = (".log_scale", ".image.weight" if isinstance(model, TextOnly) else "hidden")
    controlled = not (sees_image(model) and sees_prompt(model))
    return (isinstance(model, ImageOnly) and name.startswith(unread)) or (controlled and name.endswith(alike))


@pytest.mark.parametrize(
    ("cell", "task"),
    [case(cell, task) for cell in GRID for task in TASKS if cell[2] in READS_BOTH_WAYS or task not in NEEDS_BOTH_WAYS],
    ids=lambda name: name if isinstance(name, str) else "-".join(name),
)
def test_every_parameter_gets_a_gradient(cell, task):
    model = build(*cell, task).train()
    batch = tiny.batch(TASKS[task][1](), model.vocabulary)
    model.task.loss(model, batch).backward()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, p in learning.items() if p.grad is None]
    assert not without, "DDP stops at a parameter without a gradient"
    zero = [name for name, p in learning.items() if not p.grad.any() and not silent(model, name)]
    assert not zero
    assert all(p.grad.isfinite().all() for p in learning.values())
    frozen = {name: p for name, p in model.named_parameters() if name not in learning}
    assert all(p.grad is None and any(part in name for part in UNREAD) for name, p in frozen.items())


@torch.no_grad()
def test_a_checkpoint_is_sufficient_to_rebuild_the_model(model, batch, tmp_path):
    model = copy.deepcopy(model).float()
    path = tmp_path / "model.ckpt"
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, path)
    loaded = Fusion.load_from_checkpoint(path)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert to_config(loaded) == to_config(model)
    assert torch.equal(loaded(batch).embeddings, model(batch).embeddings)
    assert loaded.task.predict(loaded, batch) == model.task.predict(model, batch)


@torch.no_grad()
@pytest.mark.parametrize("task", TASKS)
def test_a_checkpoint_includes_the_task(task, tmp_path):
    model = build("late-concat", "cnn", "transformer", task).eval()
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, tmp_path / "model.ckpt")
    loaded = Fusion.load_from_checkpoint(tmp_path / "model.ckpt")
    batch = tiny.batch(TASKS[task][1](), model.vocabulary)
    assert loaded.task.signature("test") == model.task.signature("test")
    losses = []
    for candidate in (loaded, model):
        torch.manual_seed(1)  # hard negatives are sampled
        losses.append(candidate.task.loss(candidate, batch))
    assert losses[0] == losses[1]
    assert loaded.task.top_answers(loaded, batch, 2) == model.task.top_answers(model, batch, 2)


@torch.no_grad()
@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_a_gated_fusion_initially_ignores_the_image(text, batch):
    model = FUSIONS["interactive-co-gated"](
        vocabulary=tiny.vocabulary(),
        image_encoder=tiny.cnn(),
        text_encoder=TEXT_ENCODERS[text](),
        task=Classification(),
    ).eval()
    assert torch.equal(model(batch).embeddings, model(batch._replace(image=batch.image.flip(0))).embeddings)


def contexts_of(model, batch):
    """Return the context of each cross-attention layer of the text."""
    contexts = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: contexts.append(inputs[2])) for layer in model.text_layers
    ]
    model(batch)
    for hook in hooks:
        hook.remove()
    return contexts


@torch.no_grad()
def test_only_co_attention_updates_the_image(vocabulary, batch):
    """Without co-attention both layers attend to the same image tokens."""
    for co_attention in (True, False):
        model = FUSIONS["interactive-co" if co_attention else "interactive-text"](
            vocabulary=vocabulary, image_encoder=tiny.cnn(), text_encoder=tiny.transformer(), task=Classification()
        ).eval()
        contexts = contexts_of(model, batch)
        assert torch.equal(contexts[0], contexts[1]) == (not co_attention)


@torch.no_grad()
def test_early_fusion_passes_image_and_text_to_the_trunk(vocabulary, batch):
    model = tiny.fusion(EarlyFusion).eval()
    inputs = []
    trunk = model.text_encoder.trunk
    model.text_encoder.trunk = lambda tokens, cache=None: inputs.append(tokens) or trunk(tokens, cache)
    model(batch)
    cells = model.grid[0] * model.grid[1]
    assert [tokens.embeddings.shape[1] for tokens in inputs] == [cells + batch.ids.shape[1]]
    assert isinstance(inputs[0], Tokens)
    assert (inputs[0].block_ids[:, :cells] == 0).all()
    assert inputs[0].mask[:, :cells].all()
