"""The configurations: one YAML file per table, an example for your own data; the JSON files are made from the code."""
