"""The logging of the standard library, or of picologging, each record as JSON."""

import importlib
import json
import sys
from typing import Any

from peers.lines import FIELDS, tell_lines

logging = importlib.import_module(sys.argv[1])


class Json(logging.Formatter):  # type: ignore[misc, name-defined]
    """A record whose message is its fields."""

    def format(self, record: Any) -> str:
        """Return the fields as JSON."""
        return json.dumps(record.msg)


def log(path: str, count: int) -> None:
    """Log *count* lines."""
    handler = logging.FileHandler(path)
    handler.setFormatter(Json())
    logger = logging.Logger("bench", logging.INFO)
    logger.addHandler(handler)
    for _ in range(count):
        logger.info(FIELDS)
    handler.close()


tell_lines(log)
