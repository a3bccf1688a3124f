"""Faults of a dataset, found before training; may import data/datasets, data/images, io and the types."""
