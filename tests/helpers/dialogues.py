"""Conversations with images at their marks, as samples and batches of ``tiny``."""

import torch
from helpers import tiny

from velm_lightning.data.collate import Texts
from velm_lightning.data.images.decode import read_image
from velm_lightning.types import ImageTransform, Sample, Turn

WHOLE = ImageTransform(tiny.SIZE)


def user(*parts):
    return Turn("user", parts)


def reply(text, learned=True):
    return Turn("assistant", (text,), learned)


TWO_IMAGES = (user(None, "is there a red circle ?"), reply("blue stars"), user("what", None, "colour"), reply("red"))
NO_IMAGE = (user("how many ?"), reply("ein roter kreis"))
ONE_LATER = (user("is it"), reply("red"), user(None, "what colour is it ?"), reply("blue stars are there"))


def sample(key, turns, images=()):
    text = turns[-1].parts[-1]
    return Sample(key, tuple(images), "", text, (text,), turns=tuple(turns))


def samples():
    """Two images in two turns, none, and one in the second turn."""
    return [
        sample("two", TWO_IMAGES, (tiny.picture(0), tiny.picture(1))),
        sample("none", NO_IMAGE),
        sample("later", ONE_LATER, (tiny.picture(2),)),
    ]


def batch(chosen, words, transform=WHOLE):
    """Collate samples with their images, in the form that an image encoder wants."""
    texts = Texts(chosen, words)
    images = [read_image(texts.images[i], transform) for i in texts.image_indices(range(len(chosen)))]
    stacked = torch.stack(images) if images else torch.empty(0, *transform.shape, dtype=torch.uint8)
    return texts.batch(range(len(chosen)), stacked)
