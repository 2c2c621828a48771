"""Who is told of the containers of an execution."""

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.core.states import TASK_WORDS
from orchestrator.engine.transaction import Database
from orchestrator.executions.runtimes import shown_steps
from tests.integration.executions.runs import CENTRAL, FIRST, SECOND, Runs, box, dag, task


@pytest.fixture
def runs(database: Database) -> Runs:
    return Runs(database)


def shown(runs: Runs, id_: int, organization: str) -> dict[str, tuple[str, str, int]]:
    found = runs.call(shown_steps.of_execution, pb.GetStepsParam(execution=id_), organization).steps
    return {each.step.name: (each.worker, TASK_WORDS[each.step.status], each.attempts) for each in found}


def test_who_runs_executions_sees_all_containers_and_a_partner_its_own(runs):
    id_ = runs.start(dag(task("train", "train"), task("end", "box", "train")), box("train", FIRST), box())
    runs.claim(id_, "train", FIRST)
    own = {"train": (FIRST, "Doing", 1)}
    assert shown(runs, id_, CENTRAL) == {**own, "end": (CENTRAL, "Waiting", 0)}
    assert shown(runs, id_, FIRST) == own
    for stranger, other in ((SECOND, id_), (CENTRAL, id_ + 1), (CENTRAL, 2**64 - 1)):
        with pytest.raises(NotFoundError):
            shown(runs, other, stranger)


def test_a_step_is_shown_by_its_key_to_the_same(runs):
    id_ = runs.start(box("train", FIRST))
    attempt, _ = runs.claim(id_, "train", FIRST)
    asked = pb.GetStepParam(key=attempt.compute_task_key)
    for organization in (CENTRAL, FIRST):
        found = runs.call(shown_steps.one, asked, organization)
        assert (found.step.execution, found.step.name, found.step.owner, found.worker) == (id_, "train", CENTRAL, FIRST)
    with pytest.raises(NotFoundError):
        runs.call(shown_steps.one, asked, SECOND)
