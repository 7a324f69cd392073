"""structlog with orjson, bytes straight to the file."""

import orjson  # type: ignore[import-not-found]
import structlog  # type: ignore[import-not-found]
from peers.lines import FIELDS, tell_lines


def log(path: str, count: int) -> None:
    """Log *count* lines."""
    with open(path, "wb") as file:
        logger = structlog.wrap_logger(
            structlog.BytesLogger(file),
            processors=[structlog.processors.JSONRenderer(serializer=orjson.dumps)],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            cache_logger_on_first_use=True,
        ).bind()
        for _ in range(count):
            logger.info("call", **FIELDS)


tell_lines(log)
