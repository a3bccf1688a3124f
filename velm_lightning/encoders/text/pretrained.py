"""Hugging Face language models as text encoders: masked (BERT and similar) and causal (GPT-2, Llama and similar)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.encoders.layer_control import LayerControl, no_layers
from velm_lightning.encoders.layer_groups import layer_groups_of, layers_of
from velm_lightning.encoders.lora import LoRA
from velm_lightning.encoders.text.attention_interface import LayerMasks, reading, register
from velm_lightning.encoders.text.layer_hooks import controlling, hook
from velm_lightning.encoders.text.state_memory import StateMemory
from velm_lightning.encoders.text.trunk_check import check_layers, check_trunk
from velm_lightning.io import hub
from velm_lightning.io.configurable import rebuilding
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import InputError, TextInput, Tokens


class HFTextEncoder(TextEncoder):
    """A language model of the Hugging Face hub, whose layers attend by the block rule.

    The rule applies within the mask of each layer: a masked language model (BERT …) attends bidirectionally to image
    and prompt and from left to right to target words; a causal model (GPT-2, Llama …) attends from left to right, as in
    pretraining. Sliding windows and chunks (Mistral, Gemma, ModernBERT …) are counted in positions, i.e. valid tokens:
    image tokens before the text fill a window like words, padding does not. The data module uses the model's tokeniser.
    A frozen causal model in early fusion is the visual prefix.

    ``build`` checks for a few tokens, also with padding and word by word, that the hidden states equal those of
    transformers. A model that fails (because of a recurrent state or an attention of its own) raises an error.

    Args:
        name: hub name, folder, GGUF file or folder with one; None means random weights and only ``config``.
        config: overrides of the model's configuration; without ``name`` the whole configuration, with ``model_type``
            (the vocabulary size follows the data).
        weights: whether to load the pretrained weights; otherwise they are random, for training from scratch.
        trainable: number of last layer groups to train: 0 freezes all, -1 none.
        lora: adapters to train instead of the model, which is then frozen.
        pooling: how a prompt becomes one vector: ``mean`` averages its tokens, as sentence encoders such as MiniLM are
            trained. None means the last token of a causal model and the first of any other.
        keep_states: whether the states of prompts stay in memory (float16, at most 2 GiB), so that a frozen model
            encodes each prompt only once. Early fusion, whose trunk attends to the image, has no use for it.

    Raises:
        InputError: the configuration cannot be loaded, is not of one masked or causal language model, or
            ``keep_states`` is set and the model is not frozen.

    Example:
        >>> import velm_lightning as velm
        >>> config = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        ...           "intermediate_size": 16}
        >>> encoder = velm.HFTextEncoder(config=config)  # HFTextEncoder("gpt2") loads weights and uses their tokeniser
        >>> encoder.causal, encoder.dim
        (False, 8)
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
        pooling: Literal["mean"] | None = None,
        keep_states: bool = False,
    ) -> None:
        super().__init__()
        if keep_states and (trainable or lora):
            raise InputError(
                f"text_encoder.keep_states=true needs a frozen model, but it has trainable={trainable}"
                f"{' and lora' if lora else ''}: set trainable to 0 without lora, or keep_states to false"
            )
        self.name, self.trainable, self.lora, self.pooling = name, trainable, lora, pooling
        self.memory = StateMemory() if keep_states else None
        self.config = hub.configuration(None if rebuilding() else name, config)
        self.causal, self.dim = _is_causal(self.config), _width(self.config)
        self.pretrained = weights and name is not None
        self._head: list[nn.Module] = []

    @override
    def build(self, vocabulary: Vocabulary) -> None:
        """Build the model, load its weights and freeze it as configured.

        Raises:
            InputError: the weights cannot be loaded, the tokeniser of the data module is not that of the model, or the
                hidden states of the model differ from those of transformers.
        """
        if not self.pretrained:
            hub.set_vocabulary(self.config, vocabulary.size, vocabulary.pad)
        elif not rebuilding():
            _check_words(vocabulary, str(self.name))
        self._init_args["config"] = hub.plain(self.config)  # a checkpoint is rebuilt without the files of `name`
        from transformers import AutoModel, AutoModelForCausalLM

        weights = self.name if self.pretrained and not rebuilding() else None
        network = hub.model(AutoModelForCausalLM if self.causal else AutoModel, self.config, weights)
        with hub.one_line_errors(f"text_encoder: a {self.config.model_type}"):
            network.set_attn_implementation(register())
            model = network.base_model
            if self.causal and model is network:  # the model type has no base_model_prefix for its trunk
                model = network.model
            self.embedding: nn.Embedding = model.get_input_embeddings()
            self.model = model
            self.register_buffer("word_scale", self.embedding.weight.detach().std() * _gain(self.embedding))
            self.first_position, self._longest = _position_range(model, self.config)
            self.causal = check_trunk(self.eval())
        self.train().freeze(0 if self.lora else self.trainable)
        if self.memory is not None:  # which holds the states of other weights once these are replaced
            self.register_load_state_dict_post_hook(lambda encoder, _: encoder.memory.clear())  # type: ignore[no-untyped-call]
        if network is not model:
            head = network.get_output_embeddings().requires_grad_(self.embedding.weight.requires_grad)
            head.pretrained = self.pretrained
            self._head = [head]  # in a list, so that it is no submodule: a task may use it
        if self.lora is not None:
            self.lora.adapt(self.model)

    @property
    @override
    def lm_head(self) -> nn.Module | None:
        return self._head[0] if self._head else None

    @property
    @override
    def scale(self) -> Tensor:
        return self.word_scale

    @property
    @override
    def layer_groups(self) -> Sequence[nn.Module]:
        return layer_groups_of(self.model, int(self.config.num_hidden_layers))

    @override
    def embed(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        # the trunk adds position embeddings to all of its tokens
        tokens = Tokens(self.embedding(words.ids), words.mask, words.block_ids)
        if self.memory is not None:
            self.memory.embedded(tokens.embeddings, words)
        return tokens

    @override
    def trunk(self, tokens: Tokens, cache: Cache | None = None, control: LayerControl | None = None) -> Tokens:
        """Encode tokens as ``TextEncoder.trunk`` does.

        Raises:
            InputError: the model has fewer positions than there are tokens.
        """
        if self.memory is not None and cache is None and control is None and self.frozen:
            return tokens.with_embeddings(self.memory.states(tokens, lambda part: self._states(part, None, None)))
        return tokens.with_embeddings(self._states(tokens, cache, control))

    def _states(self, tokens: Tokens, cache: Cache | None, control: LayerControl | None) -> Tensor:
        keys = tokens if cache is None else cache.places(self, tokens)
        positions = self._positions(tokens, keys)
        layers = int(self.config.num_hidden_layers)
        with reading(LayerMasks(tokens, keys, positions), cache), controlling(control, tokens, keys, layers):
            states = self.model(
                inputs_embeds=tokens.embeddings,
                attention_mask=torch.ones_like(tokens.mask),  # the layers use the masks of `layer_mask`
                position_ids=positions + self.first_position,
                use_cache=False,
            )
        last: Tensor = states.last_hidden_state
        return last

    @override
    def pool(self, tokens: Tokens) -> Tensor:
        if self.pooling is None:
            return super().pool(tokens)
        return Tokens(tokens.embeddings, tokens.mask & (tokens.block_ids == 0), tokens.block_ids).mean()

    @override
    def open_layers(self) -> Sequence[nn.Module]:
        layers = layers_of(self.model, int(self.config.num_hidden_layers))
        if layers is None:
            raise no_layers(self.config.model_type)
        hook(layers)
        check_layers(self)
        return list(layers)

    def _positions(self, tokens: Tokens, seen: Tokens) -> Tensor:
        """Return the positions (B, N) of the tokens, which padding does not advance."""
        count = seen.mask.cumsum(1)[:, -tokens.mask.shape[1] :]
        if seen.mask.shape[1] > self._longest and int(count.max()) > self._longest:
            raise InputError(
                f"image and text have {int(count.max())} tokens, and a {self.config.model_type} has {self._longest} "
                "positions: lower data.max_length or reduce the number of image tokens"
            )
        return (count - 1).clamp(min=0)


def _is_causal(config: Any) -> bool:
    """Return whether a language model is causal.

    Raises:
        InputError: the model is not a masked or causal language model.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False) or kind not in {*CAUSAL, *MASKED}:
        raise InputError(f"text_encoder: a {kind} is neither a masked (BERT and similar) nor a causal language model")
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
    raise InputError(f"text_encoder: a {config.model_type} is not a single text model{half}")


@torch.no_grad()
def _gain(embedding: nn.Embedding) -> Tensor:
    """Return the scale that an embedding applies to its rows: 1, except in models such as Gemma 3."""
    rows = embedding.weight[:2]
    words: Tensor = embedding(torch.arange(len(rows), device=rows.device))
    gain: Tensor = words.norm() / rows.norm()
    return gain


def _check_words(vocabulary: Vocabulary, name: str) -> None:
    tokenizer = Tokenizer.from_str(hub.tokenizer(name)["tokenizer"])
    if tokenizer.get_vocab() != vocabulary.tokenizer.get_vocab():
        raise InputError(
            f"text_encoder.name={name!r} was trained on other word pieces than the data module's: "
            f"set data.tokenizer to PretrainedTokenizer with name={name!r}"
        )


def _position_range(model: nn.Module, config: Any) -> tuple[int, int]:
    """Return the first position, which is not 0 in RoBERTa and similar models, and the number of positions.

    Raises:
        InputError: the model takes no embeddings with positions, or requires word ids in every layer.
    """
    parameters = signature(model.forward).parameters
    if not {"inputs_embeds", "position_ids", "attention_mask"} <= set(parameters):
        raise InputError(
            f"text_encoder: a {config.model_type} takes no embeddings with positions: choose another model"
        )
    if getattr(config, "hidden_size_per_layer_input", 0):
        raise InputError(
            f"text_encoder: a {config.model_type} needs word ids in every layer (hidden_size_per_layer_input), which "
            "image tokens do not have: choose another model"
        )
    tables = [part for path, part in model.named_modules() if path.endswith("position_embeddings")]
    padding = next((part.padding_idx for part in tables if getattr(part, "padding_idx", None) is not None), None)
    first = 0 if padding is None else int(padding) + 1
    return first, int(getattr(config, "max_position_embeddings", None) or 10**9) - first
