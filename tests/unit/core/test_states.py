import re
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.errors import IncompatibleStatusError

DOCS = Path(__file__).parents[3] / "docs"


def test_every_state_of_the_contract_has_its_transitions_and_its_word():
    known = set(pb.ComputeTaskStatus.values()) - {pb.STATUS_UNKNOWN}
    assert set(states.TASK_TRANSITIONS) == set(states.TASK_WORDS) == known
    assert set(states.FUNCTION_TRANSITIONS) == set(pb.FunctionStatus.values()) - {pb.FUNCTION_STATUS_UNKNOWN}


def test_only_done_cancelled_and_failed_are_terminal():
    assert {pb.STATUS_DONE, pb.STATUS_CANCELED, pb.STATUS_FAILED} == states.TERMINAL


def test_sources_are_the_states_that_lead_to_a_state():
    for target in states.TASK_TRANSITIONS:
        assert set(states.sources(target)) == {
            source for source, targets in states.TASK_TRANSITIONS.items() if target in targets
        }


def test_no_caller_moves_a_task_back_to_to_do():
    with pytest.raises(IncompatibleStatusError, match="OE0104"):
        states.check_task_transition("k", pb.STATUS_EXECUTING, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT)


def test_an_allowed_transition_passes():
    states.check_task_transition("k", pb.STATUS_EXECUTING, pb.STATUS_DONE)
    states.check_function_transition("k", pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_STATUS_READY)


def test_a_refusal_names_both_states_in_the_users_words():
    with pytest.raises(IncompatibleStatusError, match=r"is Done and cannot become Doing .* current state STATUS_DONE"):
        states.check_task_transition("k", pb.STATUS_DONE, pb.STATUS_EXECUTING)


@pytest.mark.parametrize(
    ("function", "parents", "expected"),
    [
        (pb.FUNCTION_STATUS_READY, [], pb.STATUS_WAITING_FOR_EXECUTOR_SLOT),
        (pb.FUNCTION_STATUS_READY, [pb.STATUS_DONE], pb.STATUS_WAITING_FOR_EXECUTOR_SLOT),
        (pb.FUNCTION_STATUS_READY, [pb.STATUS_DONE, pb.STATUS_EXECUTING], pb.STATUS_WAITING_FOR_PARENT_TASKS),
        (pb.FUNCTION_STATUS_WAITING, [pb.STATUS_DONE], pb.STATUS_WAITING_FOR_BUILDER_SLOT),
        (pb.FUNCTION_STATUS_BUILDING, [], pb.STATUS_BUILDING),
        (pb.FUNCTION_STATUS_FAILED, [], pb.STATUS_FAILED),
        (pb.FUNCTION_STATUS_CANCELED, [], pb.STATUS_CANCELED),
        (pb.FUNCTION_STATUS_FAILED, [pb.STATUS_FAILED], pb.STATUS_CANCELED),
        (pb.FUNCTION_STATUS_READY, [pb.STATUS_CANCELED, pb.STATUS_DONE], pb.STATUS_CANCELED),
    ],
)
def test_the_first_state_follows_from_function_and_parents(function, parents, expected):
    assert states.initial_status(function, parents) == expected


def test_the_docs_name_every_word_of_the_users():
    page = (DOCS / "states.md").read_text()
    assert all(re.search(rf"\b{word}\b", page) for word in states.TASK_WORDS.values())
