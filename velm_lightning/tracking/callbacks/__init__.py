"""Callbacks that print and write a run's figures while it trains: data, limits, losses, epochs, examples."""
