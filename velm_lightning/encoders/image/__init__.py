"""Image encoders, one module each; may import encoders/base, nn, io and the types."""
