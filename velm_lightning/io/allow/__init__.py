"""Which classes text may name: the allowed packages, the list of the user, and resolving a name to its class."""
