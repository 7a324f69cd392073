"""The version, in one place that is cheap to import; pyproject.toml has the same."""

from typing import Final

VERSION: Final = "0.1.0"
