"""Velm: a laboratory for visually-enhanced language models."""
