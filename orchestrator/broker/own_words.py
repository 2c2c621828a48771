"""Keeps Celery from writing in words of its own: what it says comes by the process's log."""

import logging
from typing import Any

from celery import signals
from celery.apps import worker


def install() -> None:
    """Have Celery leave the log as it is, and write nothing beside it, before a worker is made."""
    signals.setup_logging.connect(_as_it_is, weak=False)
    # It writes to the terminal when it hears a signal. The log could not be written then: it has locks.
    worker.safe_say = _silent


def quieten(*loggers: str) -> None:
    """Have some of its loggers say no more than warnings.

    Args:
        loggers: their names.
    """
    for name in loggers:
        logging.getLogger(name).setLevel(logging.WARNING)


def _as_it_is(**_: Any) -> None:
    """Configure nothing: who listens to the signal is believed to have."""


def _silent(*_: Any, **__: Any) -> None:
    """Say nothing."""
