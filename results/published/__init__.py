"""The published numbers, one CSV file per table."""
