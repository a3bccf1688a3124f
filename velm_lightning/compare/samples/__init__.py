"""Comparisons of single samples: groups, equal answers, calibration, confusion, sentences."""
