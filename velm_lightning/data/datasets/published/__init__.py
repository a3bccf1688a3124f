"""Readers of the official files of published datasets, one file each."""
