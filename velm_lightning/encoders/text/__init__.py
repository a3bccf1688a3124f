"""Text encoders, one file each; may import encoders/base, nn, text, io and the types."""
