"""Commands that load a trained model: ask, draw, search and probe."""
