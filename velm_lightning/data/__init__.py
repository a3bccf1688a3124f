"""One data module for every fusion and task; one file a dataset."""
