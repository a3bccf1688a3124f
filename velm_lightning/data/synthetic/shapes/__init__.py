"""Scenes of coloured shapes: what they are, how they look, and what is said about them."""
