"""Hugging Face models from a folder, a GGUF file or a configuration as encoders.

Attention and caching are covered by the fusion tests, freezing by the visual-prefix tests.
"""

import importlib.util
import json
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers import tiny
from tokenizers import processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    BertModel,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    ViTImageProcessor,
)

from velm_lightning.data import PretrainedTokenizer
from velm_lightning.data.features.frozen import encoder_key
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.encoders import HFImageEncoder, HFTextEncoder
from velm_lightning.fusion import EarlyFusion
from velm_lightning.io import hub
from velm_lightning.io.allow.allowlist import permissions
from velm_lightning.io.configurable import build, to_config
from velm_lightning.tasks import Generation
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import ImageTransform, InputError

CLIP = {
    "model_type": "clip",
    "vision_config": tiny.IMAGE_CONFIGS["clip"],
    "text_config": {"vocab_size": 40, **tiny.LAYERS},
    "projection_dim": 4,
}


def tokenizer(closed):
    """A fast tokeniser of ``tiny.TEXTS``, with or without a template like BERT's."""
    backend = tiny.vocabulary().tokenizer
    if closed:
        backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]", "unk": "[UNK]"}
    special = names if closed else {"bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{key}_token": name for key, name in special.items()})


def saved(folder, kind):
    """Save a language model with random weights and its tokeniser as a hub folder and return the model."""
    words = tokenizer(closed=kind == "bert")
    auto = AutoModel if kind == "bert" else AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(**tiny.TEXT_CONFIGS[kind], vocab_size=len(words) + 5))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model


def words_of(folder):
    return Vocabulary(**PretrainedTokenizer(str(folder)).tokenizer([]), answers=tiny.ANSWERS)


def connected(folder, **changes):
    encoder = HFTextEncoder(str(folder), **changes)
    encoder.build(words_of(folder))
    return encoder.eval()


# Language models


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_hidden_states_equal_those_of_transformers(kind, tmp_path):
    model = saved(tmp_path, kind).eval()
    encoder = connected(tmp_path)
    ids = torch.tensor([[1, 7, 9, 8, 2]])
    there = model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    prompt = tiny.words(ids)
    torch.testing.assert_close(encoder.trunk(encoder.embed(prompt)).embeddings, there)
    assert encoder.pretrained
    if encoder.causal:
        torch.testing.assert_close(encoder.lm_head(there), model(input_ids=ids).logits)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_prompts_end_with_sep_if_the_tokeniser_adds_it(kind, tmp_path):
    saved(tmp_path, kind)
    words = words_of(tmp_path)
    assert words.prompt([7]) == ([1, 7, 2] if kind == "bert" else [1, 7])
    batch = tiny.batch(tiny.translations(), words)
    ends = (batch.ids == words.end) & (batch.block_ids == 0) & batch.mask
    assert ends.any(1).all() == (kind == "bert")
    model = tiny.fusion(EarlyFusion, vocabulary=words, text_encoder=HFTextEncoder(str(tmp_path)), task=Generation())
    assert model.task.loss(model, batch).isfinite()


def test_a_tokeniser_of_another_model_is_refused(tmp_path):
    saved(tmp_path, "bert")
    with pytest.raises(InputError, match="trained on other word pieces than the data module's"):
        HFTextEncoder(str(tmp_path)).build(Vocabulary(tiny.train_tokenizer(["other words"])))


def test_random_weights_have_the_shapes_of_pretrained_ones(tmp_path):
    saved(tmp_path, "bert")
    there, scratch = connected(tmp_path), connected(tmp_path, weights=False)
    assert not scratch.pretrained
    theirs, ours = there.model.encoder.state_dict(), scratch.model.encoder.state_dict()
    assert {name: value.shape for name, value in theirs.items()} == {name: value.shape for name, value in ours.items()}
    assert not torch.equal(theirs["layer.0.output.dense.weight"], ours["layer.0.output.dense.weight"])


def test_configuration_overrides(tmp_path):
    saved(tmp_path, "bert")
    encoder = connected(tmp_path, config={"num_hidden_layers": 1, "hidden_dropout_prob": 0.5})
    assert len(encoder.model.encoder.layer) == 1
    assert encoder.model.embeddings.dropout.p == 0.5
    with pytest.raises(InputError, match="config.layers is not a key of the configuration of a bert model"):
        HFTextEncoder(str(tmp_path), config={"layers": 1})


@pytest.mark.parametrize("trainable", [0, 1, -1])
def test_only_the_last_layers_are_trainable(trainable, tmp_path):
    saved(tmp_path, "gpt2")
    encoder = connected(tmp_path, trainable=trainable)
    learning = {name for name, p in encoder.named_parameters() if p.requires_grad}
    every = {name for name, _ in encoder.named_parameters()}
    last = {name for name in every if name.startswith(("model.h.1.", "model.ln_f."))}
    assert last
    assert learning == {0: set(), 1: last, -1: every}[trainable]
    assert encoder.lm_head.weight.requires_grad == (trainable == -1)
    encoder.train()
    assert encoder.model.h[1].training == bool(trainable)
    assert encoder.model.h[0].training == encoder.model.drop.training == (trainable == -1)


@torch.no_grad()
def test_a_checkpoint_loads_without_the_model_folder(tmp_path, batch):
    folder = tmp_path / "model"
    saved(folder, "bert")
    words = words_of(folder)
    model = tiny.fusion(EarlyFusion, vocabulary=words, text_encoder=HFTextEncoder(str(folder), trainable=0)).eval()
    plain, weights = json.loads(json.dumps(to_config(model))), model.state_dict()
    folder.rename(tmp_path / "elsewhere")
    again = build(plain).eval()
    again.load_state_dict(weights)
    torch.testing.assert_close(again(batch).embeddings, model(batch).embeddings, rtol=0, atol=0)
    assert again.text_encoder.pretrained


@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs the extra gguf")
@torch.no_grad()
def test_a_gguf_file_is_loaded_like_a_folder(tmp_path):
    """The package gguf writes the file, in the layout of llama.cpp."""
    import gguf

    file = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    sizes = {"block_count": 1, "context_length": 32, "embedding_length": 64, "feed_forward_length": 64}
    sizes |= {"head_count": 2, "head_count_kv": 1, "layer_norm_rms_eps": 1e-5, "vocab_size": 6}
    for name, value in sizes.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "</s>", "a", "b", "ab", "c"])
    writer.add_token_types([3, 3, 1, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {"token_embd": (6, 64), "output_norm": (64,)}
    shapes |= {f"blk.0.{name}": (64, 64) for name in ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
    shapes |= {f"blk.0.{name}": (32, 64) for name in ("attn_k", "attn_v")}
    shapes |= {f"blk.0.{name}": (64,) for name in ("attn_norm", "ffn_norm")}
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for source in (file, tmp_path):
        encoder = connected(source)
        assert encoder.causal
        assert encoder.pretrained
        assert encoder.embedding.weight.shape == (6, 64)
        assert encoder.trunk(encoder.embed(tiny.words(torch.tensor([[0, 4, 5]])))).embeddings.isfinite().all()


# What cannot be loaded


def without(folder, name):
    (folder / name).unlink()


def cut(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


class Trap:
    """An object that must never be unpickled when weights are loaded."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a weights file ran')",))


def trapped(folder, name):
    (folder / name).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap()}, protocol=2))


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (without, "model.safetensors", "no file named"),
        (without, "config.json", "cannot be loaded"),
        (cut, "model.safetensors", "cannot be loaded"),
        (cut, "config.json", "cannot be loaded"),
        (trapped, "model.safetensors", "cannot be loaded"),
    ],
)
def test_a_damaged_model_folder_raises_a_one_line_error(damage, name, message, tmp_path):
    saved(tmp_path, "bert")
    words = words_of(tmp_path)
    damage(tmp_path, name)
    with pytest.raises(InputError, match=message) as caught:
        HFTextEncoder(str(tmp_path)).build(words)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_or_mismatched_weights_are_named(tmp_path):
    saved(tmp_path, "bert")
    encoder = HFTextEncoder(str(tmp_path), config={"num_hidden_layers": 3})
    with pytest.raises(InputError, match=r"16 weights of a BertModel are missing.*encoder\.layer\.2\."):
        encoder.build(words_of(tmp_path))
    encoder = HFTextEncoder(str(tmp_path), config={"intermediate_size": 32})
    with pytest.raises(InputError, match=str(tmp_path)):
        encoder.build(words_of(tmp_path))


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "some/where/deep", "model.gguf"])
def test_a_missing_path_is_not_taken_for_a_hub_name(name):
    with pytest.raises(InputError, match=f"name='{name}': no such file or folder"):
        HFTextEncoder(name)


def test_an_unknown_hub_name_is_refused_offline(monkeypatch):
    with pytest.raises(InputError, match="name='nobody/nothing' cannot be loaded"):
        HFTextEncoder("nobody/nothing")


def test_a_hub_name_needs_the_word_of_the_command_line():
    with permissions(["fit"]), pytest.raises(InputError, match="is a model of the hub .*nothing was opened: .*network"):
        HFTextEncoder("nobody/nothing")


@pytest.mark.parametrize("known", [True, False])
def test_code_that_comes_with_a_model_never_runs(known, tmp_path):
    saved(tmp_path, "bert")
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Theirs: pass\n")
    names = {name: "theirs.Theirs" for name in ("AutoConfig", "AutoModel", "AutoModelForMaskedLM")}
    names["AutoTokenizer"] = ["theirs.Theirs", "theirs.Theirs"]
    for file in ("config.json", "tokenizer_config.json"):
        content = json.loads((tmp_path / file).read_text()) | {"auto_map": names}
        content |= {} if known else {"model_type": "theirs", "tokenizer_class": "Theirs"}
        (tmp_path / file).write_text(json.dumps(content))
    with nullcontext() if known else pytest.raises(InputError):
        connected(tmp_path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 8}, "config has no 'model_type'"),
        ({"model_type": "brt"}, "config cannot be loaded"),
        ({"model_type": "t5"}, r"a t5 is neither a masked \(BERT and similar\) nor a causal language model"),
        ({"model_type": "vit"}, r"a vit is neither a masked \(BERT and similar\) nor a causal language model"),
    ],
)
def test_configurations_of_other_models_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        HFTextEncoder(config=config)


# Vision models


def saved_clip(folder):
    model = CLIPModel(AutoConfig.for_model(**CLIP))
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return model


@torch.no_grad()
def test_clip_gives_patch_tokens_without_the_class_token(tmp_path):
    model = saved_clip(tmp_path).eval()
    encoder = HFImageEncoder(str(tmp_path)).eval()
    pixels = torch.randn(2, 3, tiny.SIZE, tiny.SIZE)
    there = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(encoder.encode(pixels), there)
    assert encoder.pretrained
    assert encoder.frozen


def test_the_image_processor_defines_the_transform(tmp_path):
    saved_clip(tmp_path)
    processor = CLIPImageProcessor.from_pretrained(tmp_path)
    means = tuple(processor.image_mean), tuple(processor.image_std)
    assert HFImageEncoder(str(tmp_path)).transform == ImageTransform(16, "crop", 0.8, "bicubic", *means)
    other = HFImageEncoder(str(tmp_path), size=24, transform={"interpolation": "bilinear"})
    assert other.transform == ImageTransform(24, "squash", 1.0, "bilinear", *means)
    assert other.grid == (3, 3)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    halves = (0.5,) * 3
    assert hub.image_transform(str(tmp_path)) == ImageTransform(16, "squash", 1.0, "bilinear", halves, halves)
    with pytest.raises(InputError, match="image_encoder.transform has no 'side': choose among size, resize"):
        HFImageEncoder(str(tmp_path), transform={"side": 3})


@torch.no_grad()
def test_a_checkpoint_loads_without_the_vision_model_folder(tmp_path):
    saved_clip(tmp_path / "model")
    encoder = HFImageEncoder(str(tmp_path / "model")).eval()
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    again = build(json.loads(json.dumps(to_config(encoder)))).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.stack([tiny.picture(1), tiny.picture(2)])
    assert torch.equal(again(images).embeddings, encoder(images).embeddings)
    assert again.transform == encoder.transform
    assert to_config(again) == to_config(encoder)


def test_cached_features_depend_on_the_weights(tmp_path):
    encoder = tiny.pretrained_image("dinov2", trainable=0).eval()
    images = [tiny.picture(1), tiny.picture(2)]
    store = FeatureStore(images, encoder, tmp_path, progress=False)
    torch.testing.assert_close(
        store.fetch([0, 1]).float(), encoder(torch.stack(images)).embeddings.detach(), atol=2e-3, rtol=2e-3
    )
    key = encoder_key(encoder)
    with torch.no_grad():
        encoder.model.layernorm.bias[0] += 1e-3
    assert encoder_key(encoder) != key
    assert FeatureStore(images, encoder, tmp_path, progress=False).num_computed == 2


def test_text_models_and_too_small_images_are_refused():
    with pytest.raises(InputError, match="image_encoder: a bert takes no images: choose a vision model"):
        HFImageEncoder(config=tiny.TEXT_CONFIGS["bert"])
    with pytest.raises(InputError, match="image_encoder.size=4 does not suit a vit"):
        HFImageEncoder(config=tiny.IMAGE_CONFIGS["hf-vit"], size=4)


def test_a_model_without_pooler_is_loaded_without_one(tmp_path):
    """A model that was saved without its pooler is loaded without one and raises no error."""
    BertModel(AutoConfig.for_model(**tiny.TEXT_CONFIGS["bert"]), add_pooling_layer=False).save_pretrained(tmp_path)
    encoder_config = hub.configuration(str(tmp_path))
    assert hub.model(AutoModel, encoder_config, str(tmp_path)).pooler is None
