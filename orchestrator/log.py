"""Log lines: one JSON object a line, on stderr; the event's name is static, data are its keywords."""

import logging
import sys

import structlog
from structlog.typing import EventDict


def configure(level: str, **always: object) -> None:
    """Send the log lines of this process to stderr.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        always: what each of its lines has besides.
    """

    def complete(_: object, __: str, line: EventDict) -> EventDict:
        return {**line, **always}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            complete,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        # A line and its end at once: processes that share a log would mix them.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
