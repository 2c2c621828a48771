"""A deployment in a database of the test's own."""

from collections.abc import Iterator

import pytest

from orchestrator import protos as pb
from orchestrator.core.kinds import MODULE_STATUS, STAGE_STATUS
from orchestrator.engine.transaction import Database
from orchestrator.problems import states
from tests.kit.deployment import Deployment


@pytest.fixture
def deployment(database: Database) -> Iterator[Deployment]:
    """A deployment; what is told of its modules and stages goes the ways of the diagrams."""
    made = Deployment(database)
    yield made
    for event in made.events(MODULE_STATUS, pb.ModuleStatusEvent):
        ways = {target for target, _ in states.MODULE_MOVES[event.before]}
        assert event.state in ways, f"a module went from {event.before} to {event.state}"
    before: dict[tuple[str, int, int, int], int] = {}
    for event in made.events(STAGE_STATUS, pb.StageStatusEvent):
        stage = (event.deployment, event.task_id.problem_id, event.task_id.iteration_id, event.kind)
        source = before.get(stage, pb.STAGE_WAITING)
        ways = {target for target, _ in states.STAGE_MOVES[source]}
        # One that waits may be begun anew.
        assert event.state in ways | ({source} & {pb.STAGE_WAITING}), f"a stage went from {source} to {event.state}"
        before[stage] = event.state
