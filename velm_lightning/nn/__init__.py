"""Attention, the key-value cache and gathering over processes; imports only the types."""
