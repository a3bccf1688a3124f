"""Templates that ``velm new`` copies: one folder per kind of extension, each with a module, its YAML and its test."""
