"""A judge of drawn images without a network."""

from velm_lightning.tasks.judges import Descriptions, Judge


class Brightness(Judge):
    """Describes an image as light or dark."""

    def describe(self, images):
        light = images.double().mean((1, 2, 3))
        descriptions = tuple("light" if brightness > 127.5 else "dark" for brightness in light)
        return Descriptions(descriptions, (light / 255 - 0.5).abs() * 2, images.double().mean((2, 3)))

    def compare(self, description, caption):
        return {"score": float(description in caption), "odd": float(description not in caption)}

    @property
    def accuracy(self):
        return 1.0

    def name(self):
        return "brightness"
