"""Checkpoints: saving a model, rebuilding it from the file only, and initialising it from another model's weights.

May import text, nn, io and the types.
"""
