"""The published numbers: one CSV file per table, and of UFL those of its preprint and its p-values."""
