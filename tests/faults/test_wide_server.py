"""Plans end right when a server of two processes is killed, whole or in part, and when both lose their database."""

from collections.abc import Iterator

import pytest

from tests.faults import monkeys
from tests.faults.hurt import ends_right
from tests.faults.monkeys import Monkey
from tests.kit.stage import Stage

PROCESSES = "ORCHESTRATOR_PROCESSES"


@pytest.fixture(scope="module", autouse=True)
def wide(whole_stage: Stage) -> Iterator[None]:
    """Have the server be two processes meanwhile."""
    server = whole_stage.service("serve")
    assert server.environment is not None
    before = server.environment[PROCESSES]
    for processes in ("2", before):
        server.environment[PROCESSES] = processes
        whole_stage.kill("serve")
        whole_stage.restore()
        if processes != before:
            yield


@pytest.mark.parametrize("monkey", [monkeys.kill_server_process, monkeys.kill_server, monkeys.stop_database])
def test_a_plan_ends_right_in_spite_of_a_monkey(stage: Stage, monkey: Monkey):
    ends_right(stage, monkey)
