"""The signature of a figure: one line that states how it was computed, so that only equal ones are compared.

After sacrebleu's signatures (Post 2018): ``name|scorer:…|tok:…|…|split:…``, the same fields in the same order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from velm_lightning.io.packaged import installed_version
from velm_lightning.types import InputError

_CAPTION = {"scorer": "coco-caption-1.2-equal", "tok": "ptb-3.4.1"}
FIELDS: Mapping[str, Mapping[str, str]] = {
    "BLEU-1": _CAPTION | {"ref": "closest"},
    "BLEU-2": _CAPTION | {"ref": "closest"},
    "BLEU-3": _CAPTION | {"ref": "closest"},
    "BLEU-4": _CAPTION | {"ref": "closest"},
    "ROUGE-L": _CAPTION | {"beta": "1.2"},
    "CIDEr-D": _CAPTION | {"n": "4", "sigma": "6", "df": "scored-images"},
    "METEOR-approx": {"scorer": "velm-meteor-approx", "of": "meteor-1.5", "without": "paraphrases", "tok": "ptb-3.4.1"},
    "CLIPScore": {"scorer": "hessel-2021", "w": "2.5", "prompt": "A photo depicts"},
    "RefCLIPScore": {"scorer": "hessel-2021", "w": "2.5", "prompt": "A photo depicts"},
    "VQA accuracy": {"scorer": "vqaEval"},
    "accuracy": {"scorer": "exact-match"},
    "macro-F1": {"scorer": "f1-classes-that-occur"},
    "mean recall": {"scorer": "R@1,5,10-both-ways", "ties": "against"},
    "R@k": {"scorer": "any-relevant", "ties": "against"},
}
"""The default fields of each figure."""


def signature_of(figure: str, *, split: str, **settings: str) -> str:
    """Return the signature of a figure.

    >>> signature_of("VQA accuracy", split="val:1f2e3d4c", protocol="official")  # doctest: +ELLIPSIS
    'VQA accuracy|scorer:vqaEval|protocol:official|split:val:1f2e3d4c|velm:...'

    Args:
        figure: its name: one of `FIELDS`, or of such a kind, like "METEOR-approx(exact+stem)" and "R@5".
        split: the samples that were scored, usually the name of the split with `split_fingerprint`.
        settings: further settings that determine the figure, such as ``protocol``, ``decoding`` or ``tok``; they
            override the defaults.

    Raises:
        InputError: If the figure is unknown and no ``scorer`` is given, or a value contains the separator.
    """
    fields = dict(_known(figure)) | settings
    if "scorer" not in fields:
        raise InputError(f"figure: {figure!r} is not one of {', '.join(FIELDS)}; give its scorer")
    for name, value in (fields | {"split": split}).items():
        if "|" in value:
            raise InputError(f"{name}: {value!r} contains '|', which separates the fields")
    parts = [f"{name}:{value}" for name, value in fields.items()]
    return "|".join((figure, *parts, f"split:{split}", f"velm:{installed_version('velm_lightning')}"))


def split_fingerprint(samples: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return 8 hexadecimal digits that change with the samples scored or with their references, not with their order.

    Args:
        samples: the key of each sample and its references.
    """
    lines = sorted("\x1f".join((key, *references)) for key, references in samples)
    return hashlib.sha256("\x1e".join(lines).encode()).hexdigest()[:8]


def _known(figure: str) -> Mapping[str, str]:
    """Return the fields of a figure, empty if it is unknown."""
    ranked = re.fullmatch(r"R@\d+|median rank", figure)
    return FIELDS.get("R@k" if ranked else figure.partition("(")[0], {})
