"""The configurations, one YAML file per published table."""
