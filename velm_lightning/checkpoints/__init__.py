"""Saving a model, loading it from its checkpoint alone, starting from another model's weights.

May import text, io and the types.
"""
