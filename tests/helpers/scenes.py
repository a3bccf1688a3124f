"""Look-ups in synthetic scenes by the words of a phrase."""

from velm_lightning.data.synthetic.shapes.scene import COLOURS, SHAPES, SIZES


def plain(word):
    return word.removesuffix("s")


def fitting(scene, phrase):
    """The things that match every word of a phrase such as "large red shapes"."""
    words = {plain(word) for word in phrase.split()} - {"thing", "shape"}
    assert words <= {*SIZES, *COLOURS, *SHAPES}, phrase
    return [t for t in scene.things if words <= {t.size, t.colour, t.shape}]


def scene_of(data, sample):
    split, index, *_ = sample.key.split("-")
    return data.scene(split, int(index))
