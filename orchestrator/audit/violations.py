"""The promises that a trace must keep, by name, and what breaks one."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """A promise; its value is its name for people and machines."""

    CREATED_ONCE = "created once"
    KNOWN_ASSET = "known asset"
    SAME_ASSET = "same asset"
    DEFINITION = "definition never changes"
    FIRST_STATE = "first state"
    TRANSITION = "transition"
    END = "nothing after the end"
    ONE_COMPLETION = "one completion"
    ONE_ATTEMPT = "one attempt at a time"
    PARENTS_FIRST = "parents first"
    FUNCTION_FIRST = "function first"
    CHILDREN_RELEASED = "children released"
    RESULTS_WHILE_DOING = "results while Doing"
    NOTHING_AFTER_CANCELLATION = "nothing after cancellation"
    PLAN_ENDS_ITS_TASKS = "plan ends its tasks"
    REPORT_OF_FAILURE = "report of failure"
    PLAN_FAILS = "plan fails with its task"
    MODEL_OWNER = "model of its worker"
    OUTPUT_TOLD = "output told"
    DISABLED_LAST = "disabled after its children"
    FUNCTION_TRANSITION = "function transition"
    ONE_TIME = "one time per call"
    TIME_ASCENDS = "time ascends"
    POSITIONS = "positions"
    ROW_AS_TOLD = "row as told"
    ATTEMPT_ROWS = "attempt rows"
    POKES = "pokes"
    PENDING_PARENTS = "pending parents"


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept.

    Args:
        rule: which one.
        asset_key: of whom; empty where it is of none.
        event_id: the event that shows it; empty where a row does.
        words: what happened to what, for people.
    """

    rule: Rule
    asset_key: str
    event_id: str
    words: str
