"""The tokeniser of a pretrained text encoder in place of the default tokeniser of the data."""

from __future__ import annotations

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.io import hub
from velm_lightning.io.configurable import rebuilding
from velm_lightning.text.vocabulary import Vocabulary


def tokenizer_name(encoder: TextEncoder) -> str | None:
    """Return the hub name or folder of the encoder's own tokeniser; None if it accepts any tokeniser."""
    argument = encoder.tokenizer_argument
    name = encoder._init_args.get(argument) if argument else None
    return None if name is None else str(name)


def with_own_tokenizer(vocabulary: Vocabulary, encoder: TextEncoder) -> Vocabulary:
    """Return the vocabulary with the encoder's own tokeniser, if it has one and the data's was not chosen by the user.

    Raises:
        InputError: the tokeniser cannot be loaded.
    """
    name = tokenizer_name(encoder)
    if name is None or not vocabulary.replaceable or rebuilding():
        return vocabulary
    adapted = Vocabulary(
        answers=vocabulary.answers,
        counts=vocabulary.counts,
        max_length=vocabulary.max_length,
        **hub.tokenizer(name),
    )
    adapted.replaceable = True  # by that of the next encoder on the same data
    return adapted
