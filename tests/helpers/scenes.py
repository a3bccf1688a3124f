"""Reading scenes of shapes by their words alone."""

from velm_lightning.data.synthetic.shapes.scene import COLOURS, SHAPES, SIZES


def plain(word):
    return word.removesuffix("s")


def fitting(scene, phrase):
    """The things that a phrase such as "large red shapes" describes, from its words alone."""
    words = {plain(word) for word in phrase.split()} - {"thing", "shape"}
    assert words <= {*SIZES, *COLOURS, *SHAPES}, phrase
    return [t for t in scene.things if words <= {t.size, t.colour, t.shape}]


def scene_of(data, sample):
    split, index, *_ = sample.key.split("-")
    return data.scene(split, int(index))
