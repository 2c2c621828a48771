"""Answers that get lost after their call was done, as when a connection breaks: for tests of who calls.

A server that was started with `ORCHESTRATOR_LOSE_ANSWERS` set to a share of 1, as in 0.05, loses that share of its
answers. Without it none is lost. Never set it where anything matters.
"""

import os
import random

import structlog

from orchestrator.core.errors import UnavailableError

log = structlog.get_logger()

VARIABLE = "ORCHESTRATOR_LOSE_ANSWERS"


class Loss:
    """Loses answers: always the same ones of a sequence of calls."""

    def __init__(self) -> None:
        self._share = float(os.environ.get(VARIABLE, 0))
        self._chance = random.Random(1)  # noqa: S311 - nobody gains by guessing which

    def strike(self, method: str) -> None:
        """Lose the answer of a call that was done, if it is its turn.

        Raises:
            UnavailableError: it is.
        """
        if self._share and self._chance.random() < self._share:
            log.info("answer.lost", method=method)
            raise UnavailableError("the call was done, and its answer was lost on purpose")
