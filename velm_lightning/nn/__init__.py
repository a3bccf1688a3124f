"""Attention, the key-value cache, gathering over processes and a limit on size; imports only the types and errors."""
