"""Data, models and trainings of the smallest size, as a notebook makes them."""

import warnings

import velm_lightning as velm
from velm_lightning.tracking.quiet import quiet

SILENT = {"accelerator": "cpu", "enable_progress_bar": False}


def data(**changes):
    return velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16), **{"batch_size": 8} | changes)


def model(of, kind=velm.LateFusion, **changes):
    """A model for the data ``of``."""
    parts = {
        "image_encoder": lambda: velm.SmallCNN(16, widths=(4, 4), dim=8),
        "text_encoder": lambda: velm.TransformerTextEncoder(dim=8, heads=2, depth=1),
        "task": velm.Classification,
    }
    made = {name: make() for name, make in parts.items() if name not in changes}
    return kind(vocabulary=of.vocabulary, **made | changes)


def trainer(folder, **arguments):
    """A plain Lightning trainer."""
    import lightning

    settings = {"max_epochs": 1, "logger": False, "enable_model_summary": False, "default_root_dir": folder, **SILENT}
    return lightning.Trainer(**settings | arguments)


def quietly(call, *arguments, **named):
    """Call a function without the warnings of Lightning that the command line also hides."""
    with warnings.catch_warnings():
        quiet()
        return call(*arguments, **named)
