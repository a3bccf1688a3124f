"""Data as shards and an index: writing any dataset, and reading it sample by sample.

May import data/datasets, io and the types.
"""
