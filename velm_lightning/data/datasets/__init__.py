"""Datasets that are read from files, one file each, and what they share.

May import data/images, io and the types.
"""
