"""Datasets that are read from files, one module each, and their shared code.

May import data/images, io and the types.
"""
