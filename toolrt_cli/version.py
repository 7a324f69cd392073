"""The version, in one place that is cheap to import; pyproject.toml has the same."""

VERSION = "0.1.0"
