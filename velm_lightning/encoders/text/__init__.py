"""Text encoders, one module each; may import encoders/base, nn, text, io and the types."""
