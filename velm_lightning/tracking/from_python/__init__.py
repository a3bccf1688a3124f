"""Runs from Python: ``fit``, ``load``, and the callback that writes a run folder with any trainer.

May import what ``tracking`` may import.
"""
