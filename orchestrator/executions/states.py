"""The states of an execution as data: which report leads from where to where, and which changes nothing."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from orchestrator import protos as pb

Status: TypeAlias = "pb.ExecutionStatus.ValueType"

PENDING, RUNNING = pb.EXECUTION_STATUS_PENDING, pb.EXECUTION_STATUS_RUNNING
SUCCEEDED, FAILED = pb.EXECUTION_STATUS_SUCCEEDED, pb.EXECUTION_STATUS_FAILED

LIVING = (PENDING, RUNNING)
"""Those that something leads out of."""

WORDS: Mapping[Status, str] = {PENDING: "pending", RUNNING: "running", SUCCEEDED: "succeeded", FAILED: "failed"}
"""What clients call them."""


class Answer(StrEnum):
    """What becomes of a report."""

    MOVES = "moves"
    """The execution goes to the reported state."""

    REPEATS = "repeats"
    """Nothing changes: it was reported before."""

    REFUSED = "refused"


_ANSWERS: Mapping[Status, Mapping[Status, Answer]] = {
    RUNNING: {
        PENDING: Answer.MOVES,
        RUNNING: Answer.REPEATS,
        SUCCEEDED: Answer.REFUSED,
        FAILED: Answer.REFUSED,
    },
    FAILED: {
        PENDING: Answer.MOVES,
        RUNNING: Answer.MOVES,
        SUCCEEDED: Answer.REFUSED,
        FAILED: Answer.REPEATS,
    },
    SUCCEEDED: {
        PENDING: Answer.MOVES,
        RUNNING: Answer.MOVES,
        SUCCEEDED: Answer.REPEATS,
        FAILED: Answer.REFUSED,
    },
}


def answer(current: Status, reported: Status) -> Answer:
    """Return what becomes of a report in a state."""
    return _ANSWERS[reported][current]


def sources(reported: Status) -> list[Status]:
    """Return the states from which a report moves an execution: what its compare-and-set is guarded by."""
    return [current for current, becomes in _ANSWERS[reported].items() if becomes is Answer.MOVES]
