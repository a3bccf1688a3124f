"""The parser of configs and command lines, and the gate that everything named by text passes."""
