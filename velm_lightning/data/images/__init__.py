"""Image files: found, decoded, checked and cached; may import io and the types."""
