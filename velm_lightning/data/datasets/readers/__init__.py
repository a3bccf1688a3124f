"""Readers of file formats, one module each: each recognises its format by content and yields rows.

May import data/images, io and the types.
"""
