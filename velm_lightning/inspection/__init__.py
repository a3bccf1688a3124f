"""Inspects trained models: attention, cost, probes, search and verification; returns values and writes nothing.

May import fusion and the rooms below it.
"""
