"""Self-critical training: rewards, log-probabilities, and the gradient of the expected reward."""

import pytest
import torch
from helpers import tiny
from lightning import Trainer

from velm_lightning.checkpoints import checkpoint
from velm_lightning.data import MultimodalData
from velm_lightning.decoding import Hypothesis
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, LateFusion
from velm_lightning.tasks import Generation, SelfCritical
from velm_lightning.tasks.stepping import prompts
from velm_lightning.types import InputError

QUIET = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore:.*isinstance")
LAYER = "text_encoder.model.encoder.layer."
SAMPLES = [
    sample._replace(text="", target=caption, references=(caption,))
    for sample, caption in zip(
        tiny.translations(),
        ("ein roter kreis neben dem stern", "is there a blue square ?", "how many red stars are there ?"),
        strict=True,
    )
]


def model_of(kind=EarlyFusion, dropout=0.0, **task):
    model = tiny.fusion(kind, text_encoder=tiny.transformer(dim=16, dropout=dropout), task=SelfCritical(**task))
    model.task.prepare(SAMPLES)
    return model.train()


def batch_of(model):
    return tiny.batch(SAMPLES, model.vocabulary)


def spoken(model, *lines):
    """Sentences in the form of the output of decoding, one per sample."""
    return [[Hypothesis(ids, 0.0, 0.0)] for ids in model.vocabulary.encode(lines)]


def test_a_perfect_sentence_gets_the_highest_reward():
    model = model_of()
    batch = batch_of(model)
    hypotheses = spoken(model, *(sample.target for sample in SAMPLES))
    assert model.task.rewards(batch, hypotheses, 24).flatten().tolist() == pytest.approx([10.0] * 3)
    hypotheses = [hypotheses[1], hypotheses[2], hypotheses[0]]
    assert (model.task.rewards(batch, hypotheses, 24) < 3).all()


def test_a_sentence_that_was_cut_gets_less_than_one_that_ended():
    model = model_of()
    hypotheses = spoken(model, *(sample.target for sample in SAMPLES))
    longest = max(len(hypothesis.ids) for (hypothesis,) in hypotheses)
    ended, cut = (model.task.rewards(batch_of(model), hypotheses, limit) for limit in (longest + 1, longest))
    assert [bool(x) for x in (cut < ended).flatten()] == [
        len(hypothesis.ids) == longest for (hypothesis,) in hypotheses
    ]


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion], ids=lambda kind: kind.__name__)
@torch.no_grad()
def test_probabilities_are_those_that_sentences_are_drawn_by(kind):
    model = model_of(kind, samples=4, max_length=6).eval()
    batch = batch_of(model)
    drawn = model.task.sentences(model, batch, model.task.draws)
    log_probabilities = model.task.log_probabilities(model, batch, drawn)
    silent = sorted(model.task.banned_ids)
    for row, sample in enumerate(drawn):
        for column, hypothesis in enumerate(sample):
            ids = [*hypothesis.ids, *([model.vocabulary.end] if len(hypothesis.ids) < 6 else [])]
            with_target = model.task.with_targets(batch, [model.vocabulary.decode(hypothesis.ids)] * batch.size)
            start = int(prompts(batch).mask[row].sum()) - 1
            logits = model.task.logits(model(with_target).embeddings[row, start : start + len(ids)])
            logits[:, silent] = float("-inf")
            by_hand = logits.log_softmax(1)[torch.arange(len(ids)), ids].sum()
            torch.testing.assert_close(log_probabilities[row, column], by_hand, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("baseline", ["others", "greedy"])
def test_the_gradient_is_that_of_the_expected_reward(baseline):
    """The sentences have one word, so that the expected reward is a sum over the vocabulary."""
    model = model_of(baseline=baseline, samples=4000, max_length=1)
    batch = batch_of(model).first(1)
    worth = torch.rand(model.vocabulary.size)
    model.task.rewards = lambda batch, drawn, limit: torch.stack(
        [
            torch.stack([worth[hypothesis.ids[0] if hypothesis.ids else model.vocabulary.end] for hypothesis in sample])
            for sample in drawn
        ]
    )
    bias = model.task.head.bias
    model.task.loss(model, batch).backward()
    estimate = -bias.grad.clone()
    bias.grad = None
    model.eval()
    states = model(batch).embeddings[:, int(prompts(batch).mask.sum()) - 1]
    logits = model.task.logits(states).index_fill(1, torch.tensor(sorted(model.task.banned_ids)), float("-inf"))
    (logits.softmax(1) * worth).sum().backward()
    assert (estimate - bias.grad).norm() < 0.1 * bias.grad.norm()


def test_training_raises_the_reward():
    torch.manual_seed(1)
    model = model_of(samples=10, max_length=9)
    batch = batch_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

    def learn(steps, loss):
        for _ in range(steps):
            model.train()
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
        drawn = model.task.sentences(model.eval(), batch, model.task.draws)
        return float(model.task.rewards(batch, drawn, 9).mean())

    as_a_captioner = learn(20, lambda model, batch: Generation.loss(model.task.eval(), model, batch))
    assert learn(30, model.task.loss) > as_a_captioner + 2


def test_training_uses_no_dropout_and_restores_its_mode():
    model = model_of(dropout=0.5)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(model.task.loss(model, batch_of(model)).item())
        assert model.training
        assert model.text_encoder.drop.training
        torch.rand(1)
    assert losses[0] == losses[1]


def test_in_evaluation_it_is_generation():
    model = model_of().eval()
    torch.testing.assert_close(
        model.task.loss(model, batch_of(model)), Generation.loss(model.task, model, batch_of(model))
    )


def test_what_it_cannot_learn_from_is_refused():
    with pytest.raises(InputError, match=r"task.samples=1 is too few .* at least 2"):
        SelfCritical(samples=1)
    assert SelfCritical(samples=1, baseline="greedy").draws.count == 1
    with pytest.raises(InputError, match="the training samples have none"):
        SelfCritical().prepare([SAMPLES[0]._replace(references=())])
    model = tiny.fusion(EarlyFusion, task=SelfCritical())
    with pytest.raises(InputError, match="call `prepare`"):
        model.task.loss(model, batch_of(model))


@QUIET
def test_fit_prepares_references_and_starts_from_a_captioner(tmp_path):
    captioner = tiny.fusion(EarlyFusion, text_encoder=tiny.transformer(dim=16), task=Generation())
    content = {"state_dict": captioner.state_dict()}
    checkpoint.pack(captioner, content)
    torch.save(content, tmp_path / "captioner.ckpt")
    data = MultimodalData(tiny.Samples(train=SAMPLES, val=SAMPLES), batch_size=3)
    model = tiny.fusion(
        EarlyFusion,
        vocabulary=captioner.vocabulary,
        text_encoder=tiny.transformer(dim=16),
        task=SelfCritical(samples=3, max_length=5),
        init_from=tmp_path / "captioner.ckpt",
    )
    Trainer(
        max_steps=1, default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=0,
    ).fit(model, datamodule=data)  # fmt: skip
    assert not model.init_report.left
    drawn = model.task.sentences(model.eval(), batch_of(model), model.task.draws)
    assert model.task.rewards(batch_of(model), drawn, 5).shape == (3, 3)
