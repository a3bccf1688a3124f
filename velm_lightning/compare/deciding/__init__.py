"""How many seeds a comparison needs, when to stop adding them, and how probable a difference is."""
