"""Runs sweep files with Optuna on this machine; needs no torch, because trials are processes of their own.

Imports only io, the errors, and the names of runs.
"""
