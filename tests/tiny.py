"""Samples, batches and parts so small that everything can be tested with everything."""

import torch

from velm_lightning.data.collate import Texts
from velm_lightning.encoders import RecurrentText, SmallCNN, SmallViT, TransformerText
from velm_lightning.fusion import LateFusion
from velm_lightning.tasks import Classification
from velm_lightning.types import Dataset, Sample
from velm_lightning.vocabulary import Vocabulary, train_tokenizer

SIZE, DIM = 16, 8
ANSWERS = ("no", "red", "yes")
TEXTS = (
    "is there a red circle left of the square ?",
    "how many blue stars are there ?",
    "what colour is it ?",
    "ein roter kreis neben dem blauen stern .",
)


def vocabulary(**changes):
    """Every word of ``TEXTS`` and three answers."""
    return Vocabulary(**{"tokenizer": train_tokenizer(TEXTS), "answers": ANSWERS, "counts": (2.0, 1.0, 1.0)} | changes)


def picture(seed):
    return torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def questions():
    """Prompts of 5, 8 and 3 words, answered by weights over ``ANSWERS``."""
    texts = ("how many blue stars ?", "is there a red circle left of ?", "what colour ?")
    said = ({"no": 1.0}, {"yes": 0.6, "no": 0.3}, {"red": 1.0})
    return [
        Sample(f"q{i}", picture(i), text, answers, tuple(answers), f"group {i % 2}")
        for i, (text, answers) in enumerate(zip(texts, said, strict=True))
    ]


def translations():
    """Prompts of 3, 6 and no words, with sentences of 5, 2 and 7 words to produce."""
    texts = ("a red circle", "is there a blue star ?", "")
    targets = ("ein roter kreis neben dem", "blauen stern", "ein roter kreis neben dem blauen stern")
    return [
        Sample(f"t{i}", picture(i), text, target, (target,))
        for i, (text, target) in enumerate(zip(texts, targets, strict=True))
    ]


class Samples(Dataset):
    """Samples that were made beforehand."""

    def __init__(self, **splits):
        self.splits = splits

    def split(self, name):
        return self.splits.get(name, [])


def many(count, split="train"):
    """Questions in two groups, each about a picture of its own."""
    words = ("red", "blue", "circle", "square", "there")
    return [
        Sample(f"{split}-{i:03d}", picture(i), f"is it {words[i % 5]} ?", {said: 1.0}, (said,), f"group {i % 2}")
        for i, said in ((i, ("yes", "no", "no")[i % 3]) for i in range(count))
    ]


def batch(samples, words):
    texts = Texts(samples, words)
    return texts.batch(range(len(samples)), torch.stack([sample.image for sample in samples]))


def cnn(**changes):
    return SmallCNN(**{"size": SIZE, "widths": (8, 8), "dim": 12} | changes)


def vit(**changes):
    return SmallViT(**{"size": SIZE, "patch": 8, "dim": 12, "depth": 1, "heads": 2} | changes)


def transformer(**changes):
    return TransformerText(**{"dim": DIM, "depth": 2, "heads": 2} | changes)


def recurrent(**changes):
    return RecurrentText(**{"dim": DIM} | changes)


def fusion(kind=LateFusion, **changes):
    """A fusion of a small CNN and a small Transformer that answers questions."""
    parts = {"vocabulary": vocabulary, "image_encoder": cnn, "text_encoder": transformer, "task": Classification}
    ready = {name: make() for name, make in parts.items() if name not in changes}
    return kind(**ready | changes)
