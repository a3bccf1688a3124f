"""The vocabulary and where tokenisers come from; may import io and the types."""
