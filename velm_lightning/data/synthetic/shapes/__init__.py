"""Scenes of coloured shapes: their distribution, rendering and texts."""
