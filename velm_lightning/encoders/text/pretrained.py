"""Pretrained language models of transformers as text encoders: BERT-likes, and GPT-2- and Llama-likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.encoders.layer_groups import layer_groups_of
from velm_lightning.encoders.lora import LoRA
from velm_lightning.encoders.text.attention_interface import LayerMasks, reading, register
from velm_lightning.encoders.text.trunk_check import check_trunk
from velm_lightning.io import hub
from velm_lightning.io.configurable import rebuilding
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import InputError, TextInput, Tokens


class HFTextEncoder(TextEncoder):
    """A language model of the Hugging Face hub, whose layers read what the block rule lets them see.

    The rule holds within each layer's own mask: a BERT-like reads image and prompt both ways and target words from
    left to right; a causal model (GPT-2, Llama …) reads everything from left to right, as it was trained. Sliding
    windows and chunks (Mistral, Gemma, ModernBERT …) are counted in positions, i.e. valid tokens: image tokens in front
    of the text fill a window like words, padding does not. The data module uses the model's own tokeniser. A frozen
    causal model under early fusion is the visual prefix.

    When it is built, a model must compute for a few tokens what it computes in transformers, also with padding and word
    by word; one that cannot (because it keeps a recurrent state, or has an attention of its own) is refused.

    Args:
        name: hub name, folder, GGUF file or folder with one; none: ``config`` alone, with random weights.
        config: keys of the model's configuration that are to differ; without a name all of it, ``model_type`` included
            (the size of its vocabulary follows the data).
        weights: whether its weights are loaded; if not, they are random: the counterpart from scratch.
        trainable: layers, counted from the end, that go on learning: 0 freezes all, -1 none.
        lora: adapters that learn in its stead; all else is then frozen.

    Raises:
        InputError: the configuration cannot be loaded, or is that of another kind of model.
    """

    tokenizer_argument = "name"
    word_scale: Tensor

    def __init__(
        self,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        weights: bool = True,
        trainable: int = -1,
        lora: LoRA | None = None,
    ) -> None:
        super().__init__()
        self.name, self.trainable, self.lora = name, trainable, lora
        self.config = hub.configuration(None if rebuilding() else name, config)
        self.causal, self.dim = _is_causal(self.config), _width(self.config)
        self.pretrained = weights and name is not None
        self._head: list[nn.Module] = []

    def build(self, vocabulary: Vocabulary) -> None:
        """See ``TextEncoder.build``: build the model.

        Raises:
            InputError: the weights cannot be loaded, the data module's word pieces are not the model's own, or the
                model would compute something else here than in transformers.
        """
        if not self.pretrained:
            hub.set_vocabulary(self.config, vocabulary.size, vocabulary.pad)
        elif not rebuilding():
            _check_words(vocabulary, str(self.name))
        self._init_args["config"] = hub.plain(self.config)  # a checkpoint is rebuilt without what lies under `name`
        from transformers import AutoModel, AutoModelForCausalLM

        weights = self.name if self.pretrained and not rebuilding() else None
        network = hub.model(AutoModelForCausalLM if self.causal else AutoModel, self.config, weights)
        with hub.one_line_errors(f"text_encoder: a {self.config.model_type}"):
            network.set_attn_implementation(register())
            model = network.base_model
            if self.causal and model is network:  # a type whose prefix does not name its trunk
                model = network.model
            self.embedding: nn.Embedding = model.get_input_embeddings()
            self.model = model
            self.register_buffer("word_scale", self.embedding.weight.detach().std() * _gain(self.embedding))
            self.first_position, self._longest = _position_range(model, self.config)
            self.causal = check_trunk(self.eval())
        self.train().freeze(0 if self.lora else self.trainable)
        if network is not model:
            head = network.get_output_embeddings().requires_grad_(self.embedding.weight.requires_grad)
            head.pretrained = self.pretrained
            self._head = [head]  # in a list it is no part of this one: a task may take it
        if self.lora is not None:
            self.lora.adapt(self.model)

    @property
    def lm_head(self) -> nn.Module | None:
        """See ``TextEncoder.lm_head``: a causal model's own; frozen where its embedding is."""
        return self._head[0] if self._head else None

    @property
    def scale(self) -> Tensor:
        """See ``TextEncoder.scale``."""
        return self.word_scale

    @property
    def layer_groups(self) -> Sequence[nn.Module]:
        """See ``Encoder.layer_groups``: what comes before the layers, then each layer."""
        return layer_groups_of(self.model, int(self.config.num_hidden_layers))

    def embed(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """See ``TextEncoder.embed``: the model adds positions itself, to all tokens that its trunk reads."""
        return Tokens(self.embedding(words.ids), words.mask, words.block_ids)

    def trunk(self, tokens: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``TextEncoder.trunk``.

        Raises:
            InputError: there are more tokens than the model has positions.
        """
        seen = tokens if cache is None else cache.places(self, tokens)
        positions = self._positions(tokens, seen)
        with reading(LayerMasks(tokens, seen, positions), cache):
            states = self.model(
                inputs_embeds=tokens.embeddings,
                attention_mask=torch.ones_like(tokens.mask),  # `layer_mask` makes the masks that the layers use
                position_ids=positions + self.first_position,
                use_cache=False,
            )
        return tokens.with_embeddings(states.last_hidden_state)

    def _positions(self, tokens: Tokens, seen: Tokens) -> Tensor:
        """Return (B, N): how many valid tokens stand in front of each, whatever the padding between them."""
        count = seen.mask.cumsum(1)[:, -tokens.mask.shape[1] :]
        if seen.mask.shape[1] > self._longest and int(count.max()) > self._longest:
            raise InputError(
                f"image and text have {int(count.max())} tokens, and a {self.config.model_type} has {self._longest} "
                "positions: lower data.max_length, or give the image fewer tokens"
            )
        return (count - 1).clamp(min=0)


def _is_causal(config: Any) -> bool:
    """Say whether a language model reads from left to right.

    Raises:
        InputError: it is no language model, or one with an encoder and a decoder.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False) or kind not in {*CAUSAL, *MASKED}:
        raise InputError(f"text_encoder: a {kind} is neither a BERT-like nor a causal language model")
    return kind not in MASKED


def _width(config: Any) -> int:
    """Return the width of a token.

    Raises:
        InputError: the model has several parts, or no width.
    """
    if hasattr(config, "hidden_size"):
        return int(config.hidden_size)
    text = config.get_text_config().model_type
    half = f": give the configuration of its text model, {text}" if text != config.model_type else ""
    raise InputError(f"text_encoder: a {config.model_type} is not one text model{half}")


@torch.no_grad()
def _gain(embedding: nn.Embedding) -> Tensor:
    """Return by how much an embedding enlarges its rows: 1, except for those that multiply inside (Gemma 3)."""
    rows = embedding.weight[:2]
    words: Tensor = embedding(torch.arange(len(rows), device=rows.device))
    gain: Tensor = words.norm() / rows.norm()
    return gain


def _check_words(vocabulary: Vocabulary, name: str) -> None:
    own = Tokenizer.from_str(hub.tokenizer(name)["tokenizer"])
    if own.get_vocab() != vocabulary.tokenizer.get_vocab():
        raise InputError(
            f"text_encoder.name={name!r} was trained on other word pieces than the data module's: "
            f"set data.tokenizer to PretrainedTokenizer with name={name!r}"
        )


def _position_range(model: nn.Module, config: Any) -> tuple[int, int]:
    """Return the number of the first position, which is not 0 in RoBERTa-likes, and how many there are.

    Raises:
        InputError: the model cannot be told the positions of its tokens.
    """
    known = signature(model.forward).parameters
    if not {"inputs_embeds", "position_ids", "attention_mask"} <= set(known):
        raise InputError(f"text_encoder: a {config.model_type} takes no vectors with positions: choose another model")
    if getattr(config, "hidden_size_per_layer_input", 0):
        raise InputError(
            f"text_encoder: a {config.model_type} reads word ids in every layer (hidden_size_per_layer_input), which "
            "image tokens do not have: choose another model"
        )
    tables = [part for path, part in model.named_modules() if path.endswith("position_embeddings")]
    padding = next((part.padding_idx for part in tables if getattr(part, "padding_idx", None) is not None), None)
    first = 0 if padding is None else int(padding) + 1
    return first, int(getattr(config, "max_position_embeddings", None) or 10**9) - first
