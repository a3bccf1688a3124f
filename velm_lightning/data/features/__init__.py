"""Tokens of a frozen image encoder, computed once per image and read back in batches.

May import data/images, io and the types.
"""
