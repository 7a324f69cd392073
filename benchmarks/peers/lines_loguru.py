"""loguru, serialized; with ``enqueue`` through its queue."""

import sys

from loguru import logger  # type: ignore[import-not-found]
from peers.lines import FIELDS, tell_lines


def log(path: str, count: int) -> None:
    """Log *count* lines."""
    logger.remove()
    number = logger.add(path, serialize=True, enqueue=sys.argv[1:] == ["enqueue"])
    bound = logger.bind(**FIELDS)
    for _ in range(count):
        bound.info("call")
    logger.complete()
    logger.remove(number)


tell_lines(log)
