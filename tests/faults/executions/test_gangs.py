"""Two federated executions on one slot each: had each half of its containers started, none would ever end."""

import threading
from collections import defaultdict
from contextlib import ExitStack

import yaml

from orchestrator import protos as pb
from tests.integration.executions.runs import FEDERATED
from tests.kit.installation import CENTRAL, CHANNEL, Installation
from tests.kit.slots import Slot

SIDE_BY_SIDE = 3
TEMPLATE = yaml.safe_dump(
    {"metadata": {"generateName": "fed-"}, "spec": {"entrypoint": "main", "templates": list(FEDERATED)}}
).encode()


def test_two_federated_executions_on_one_slot_each_both_end(installation: Installation) -> None:
    meetings: dict[int, threading.Barrier] = defaultdict(lambda: threading.Barrier(SIDE_BY_SIDE, timeout=30))
    told: list[str] = []

    def run(work: pb.ContainerWork) -> None:
        told.append(f"{work.execution} {work.step}")
        if work.step == "end":
            answer = installation.portal.report({"id": work.execution}, "succeeded", {})
            assert answer.status_code == 200, answer.text
        else:
            # A server waits for its clients, and they for it.
            meetings[work.execution].wait()

    schema = installation.schema(
        TEMPLATE, implementation="tasks", inputs={"platform_data": True, "federated_learning_configuration": True}
    )
    with ExitStack() as held:
        held.enter_context(installation.runtime("for-topics"))
        for organization in (CENTRAL, "data-partner-1", "data-partner-2"):
            slot = Slot(installation.address, CHANNEL, installation.broker, organization, run)
            held.enter_context(slot)
        executions = [installation.portal.execution(schema) for _ in range(2)]
        for execution in executions:
            installation.await_state(execution, "succeeded", 60)
    steps = {f"{each['id']} {step}" for each in executions for step in ("server", "clients(0)", "clients(1)", "end")}
    assert set(told) == steps
    assert len(told) == len(steps)
    pairs = {f"{each['id']}_" for each in executions}
    assert {name.split("-SEP-")[0] for name in installation.topics() if "models_to" in name} >= pairs
