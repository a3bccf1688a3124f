"""Attention, the key-value cache, packed layers and gathering over processes; imports only the types."""
