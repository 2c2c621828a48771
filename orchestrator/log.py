"""Log lines: one JSON object a line, on stderr; the event's name is static, data are its keywords."""

import logging
import re
import secrets
import sys
import threading
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor

from orchestrator.telemetry import spans


def _placed(_: object, __: str, line: EventDict) -> EventDict:
    line.update(spans.ids())
    return line


_STAMPED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    _placed,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
REQUEST = "x-request-id"
"""The name of a request's id, in gRPC's metadata and among HTTP's headers."""

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# What Celery says to the operator of a worker; other libraries say at INFO what nobody needs.
_HEARD = "celery"


def configure(level: str, **always: object) -> None:
    """Send the log lines of this process to stderr.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        always: what each of its lines has besides.
    """
    structlog.configure(
        processors=[
            _completing(always),
            *_STAMPED,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        # A line and its end at once: processes that share a log would mix them.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def configure_process(level: str, **always: object) -> None:
    """Do the same for a process that is ours alone: what libraries, warnings and errors say comes as such lines too.

    Args:
        level: as above; libraries but Celery are heard from WARNING on, below DEBUG.
        always: as above.
    """
    configure(level, **always)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                _completing(always),
                *_STAMPED,
                structlog.stdlib.add_logger_name,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level in ("DEBUG", "ERROR") else "WARNING")
    logging.getLogger(_HEARD).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _told
    threading.excepthook = _told_of_thread


def begin_request(given: str | None, peer: str) -> str:
    """Begin a request: from here on all lines of its task, and of the threads that it asks, have its id. Return that.

    Args:
        given: the id that the caller gives; where it is none, or looks like none, it gets one of ours.
        peer: the address that it comes from.
    """
    request = given if given and _ID.fullmatch(given) else secrets.token_hex(16)
    structlog.contextvars.bind_contextvars(request=request, peer=peer)
    return request


def _completing(always: dict[str, object]) -> Processor:
    def complete(_: object, __: str, line: EventDict) -> EventDict:
        return {**line, **always}

    return complete


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().critical("process.failed", exc_info=error)


def _told_of_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
        name = told.thread.name if told.thread else None
        structlog.get_logger().critical("thread.failed", thread=name, exc_info=told.exc_value)
