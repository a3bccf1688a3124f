"""Image encoders, one file each; may import encoders/base, nn, io and the types."""
