"""Small samples, batches and model parts, with which all combinations can be tested."""

import torch

from velm_lightning.data.collate import Texts
from velm_lightning.encoders import (
    HFImageEncoder,
    HFTextEncoder,
    RNNTextEncoder,
    SmallCNN,
    SmallViT,
    TransformerTextEncoder,
)
from velm_lightning.fusion import LateFusion
from velm_lightning.tasks import Classification
from velm_lightning.text.vocabulary import Vocabulary, train_tokenizer
from velm_lightning.types import Dataset, Sample, TextInput

SIZE, DIM = 16, 8
ANSWERS = ("no", "red", "yes")
TEXTS = (
    "is there a red circle left of the square ?",
    "how many blue stars are there ?",
    "what colour is it ?",
    "ein roter kreis neben dem blauen stern .",
)


def vocabulary(**changes):
    """A vocabulary of the words of ``TEXTS`` and three answers."""
    return Vocabulary(**{"tokenizer": train_tokenizer(TEXTS), "answers": ANSWERS, "counts": (2.0, 1.0, 1.0)} | changes)


def picture(seed):
    return torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def questions():
    """Prompts of 5, 8 and 3 words, with weighted answers of ``ANSWERS``."""
    texts = ("how many blue stars ?", "is there a red circle left of ?", "what colour ?")
    answer_weights = ({"no": 1.0}, {"yes": 0.6, "no": 0.3}, {"red": 1.0})
    return [
        Sample(f"q{i}", picture(i), text, answers, tuple(answers), f"group {i % 2}")
        for i, (text, answers) in enumerate(zip(texts, answer_weights, strict=True))
    ]


def translations():
    """Prompts of 3, 6 and 0 words, with target sentences of 5, 2 and 7 words."""
    texts = ("a red circle", "is there a blue star ?", "")
    targets = ("ein roter kreis neben dem", "blauen stern", "ein roter kreis neben dem blauen stern")
    return [
        Sample(f"t{i}", picture(i), text, target, (target,))
        for i, (text, target) in enumerate(zip(texts, targets, strict=True))
    ]


def described():
    """Prompts of 3, 5 and 2 words with one masked word each, without targets."""
    texts = ("a red [MASK]", "how many [MASK] stars ?", "what [MASK]")
    return [Sample(f"d{i}", picture(i), text, None, ()) for i, text in enumerate(texts)]


class Samples(Dataset):
    """A dataset of given samples."""

    def __init__(self, **splits):
        self.splits = splits

    def split(self, name):
        return self.splits.get(name, [])


def many(count, split="train"):
    """Questions in two groups, each about its own image."""
    words = ("red", "blue", "circle", "square", "there")
    return [
        Sample(f"{split}-{i:03d}", picture(i), f"is it {words[i % 5]} ?", {answer: 1.0}, (answer,), f"group {i % 2}")
        for i, answer in ((i, ("yes", "no", "no")[i % 3]) for i in range(count))
    ]


def batch(samples, words):
    texts = Texts(samples, words)
    return texts.batch(range(len(samples)), torch.stack([sample.image for sample in samples]))


def words(ids):
    """Prompts without padding."""
    return TextInput(ids, torch.ones_like(ids).bool(), torch.zeros_like(ids))


def cnn(**changes):
    return SmallCNN(**{"size": SIZE, "widths": (8, 8), "dim": 12} | changes)


def vit(**changes):
    return SmallViT(**{"size": SIZE, "patch": 8, "dim": 12, "depth": 1, "heads": 2} | changes)


def transformer(**changes):
    return TransformerTextEncoder(**{"dim": DIM, "depth": 2, "heads": 2} | changes)


def recurrent(**changes):
    return RNNTextEncoder(**{"dim": DIM} | changes)


LAYERS = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
TEXT_CONFIGS = {  # Hugging Face models with random weights
    "bert": {"model_type": "bert", "max_position_embeddings": 64, **LAYERS},
    "gpt2": {"model_type": "gpt2", "n_embd": DIM, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {"model_type": "llama", "num_key_value_heads": 1, "max_position_embeddings": 64, **LAYERS},
    "roberta": {"model_type": "roberta", "max_position_embeddings": 66, **LAYERS},
}
PATCHES = {"image_size": SIZE, "patch_size": 8, **LAYERS}
IMAGE_CONFIGS = {
    "hf-vit": {"model_type": "vit", **PATCHES},
    "clip": {"model_type": "clip_vision_model", **PATCHES},
    "siglip": {"model_type": "siglip_vision_model", **PATCHES},
    "dinov2": {"model_type": "dinov2", **PATCHES},
    "resnet": {
        "model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "layer_type": "basic"
    },
}  # fmt: skip


def pretrained_text(kind, **changes):
    return HFTextEncoder(**{"config": TEXT_CONFIGS[kind]} | changes)


def pretrained_image(kind, **changes):
    return HFImageEncoder(**{"config": IMAGE_CONFIGS[kind], "size": SIZE, "trainable": -1} | changes)


def saved_clip(folder):
    """Save a CLIP with random weights, its tokeniser and its image processor as a hub folder."""
    from tokenizers import processors
    from transformers import AutoConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    words = vocabulary().tokenizer
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    names = {"bos": "[CLS]", "eos": "[SEP]", "pad": "[SEP]", "unk": "[UNK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **{f"{k}_token": name for k, name in names.items()})
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    text = {"vocab_size": words.get_vocab_size(), "max_position_embeddings": 8, **ids, **LAYERS}
    sizes = {"text_config": text, "vision_config": IMAGE_CONFIGS["clip"], "projection_dim": 4}
    model = CLIPModel(AutoConfig.for_model("clip", **sizes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    processor = CLIPImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16})
    for part in (tokenizer, model, processor):
        part.save_pretrained(folder)


def fusion(kind=LateFusion, **changes):
    """A fusion of a small CNN and a small Transformer that classifies answers."""
    parts = {"vocabulary": vocabulary, "image_encoder": cnn, "text_encoder": transformer, "task": Classification}
    ready = {name: make() for name, make in parts.items() if name not in changes}
    return kind(**ready | changes)
