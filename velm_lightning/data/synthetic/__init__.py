"""Datasets that are drawn on the fly, so that nothing is downloaded; may import io and the types."""
