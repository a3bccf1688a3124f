"""From runs to a conclusion."""
