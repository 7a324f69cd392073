"""``python -m toolrt_cli``."""

from toolrt_cli.main import entry

entry()
