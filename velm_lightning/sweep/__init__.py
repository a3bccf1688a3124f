"""Sweep files run by Optuna on this machine; needs no torch, for trials are processes.

Imports only io and the errors.
"""
