"""Any plan that has ended, however it did, is gone on with until all of it is Done; each task finds its inputs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.compute import continuations, plans, submissions, task_actions
from orchestrator.core.errors import OrchestratorError
from tests.kit import messages
from tests.kit.member import Member

GRAPHS = st.lists(st.tuples(st.sets(st.integers(0, 6), max_size=3), st.booleans()), min_size=1, max_size=7)
"""Of each task the numbers of its parents, those of later ones left out, and whether its output is transient."""


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=GRAPHS, data=st.data())
def test_every_plan_can_be_gone_on_with_to_its_end(
    network: Member, graph: list[tuple[set[int], bool]], data: st.DataObject
):
    plan, new = messages.new_plan(), list[pb.NewComputeTask]()
    for number, (parents, transient) in enumerate(graph):
        above = [new[parent] for parent in sorted(parents) if parent < number]
        outputs = {"model": messages.output(transient=transient)}
        new.append(messages.new_task(network.function, plan, above, outputs=outputs))
    part = pb.SubmitPlanParam(head=pb.PlanHead(plan=plan, tasks=len(new)), tasks=new)
    network.call(submissions.submit, [part])
    # Keys are random, the order of their tasks is not: what is drawn depends on that alone.
    made = {task.key: number for number, task in enumerate(new)}
    key = plan.key
    for last in (False, False, True):
        fates = ["Done"] if last else ["Done", "Done", "Failed", "left"]
        run(network, key, made, lambda fates=fates: data.draw(st.sampled_from(fates)))
        if not last:
            cancel(network, key)
            disable(network, made, lambda: data.draw(st.booleans()))
        asked = pb.RetryPlanParam(compute_plan_key=key, key=messages.new_key())
        continued, refusal = tried(network, continuations.retry, asked)
        if refusal:
            assert "all Done" in refusal
            assert set(statuses(network, key).values()) <= {pb.STATUS_DONE}
            break
        assert not last, "all of it was run"
        made |= {task.compute_task_key: made[task.origin_task_key] for task in continued.tasks if not task.reused}
        key = asked.key
    assert list(stored.check(network.database, network.channel, timedelta(days=1))) == []


def tried(network: Member, use_case: Any, asked: Any) -> tuple[Any, str]:
    """Return the answer to a call, and why it was refused, empty where it was not."""
    try:
        return network.call(use_case, asked), ""
    except OrchestratorError as error:
        return None, str(error)


def statuses(network: Member, plan: str) -> dict[str, int]:
    rows = network.rows("SELECT key, status FROM task_states WHERE plan_key = :plan ORDER BY key", plan=UUID(plan))
    return {str(row.key): row.status for row in rows}


def run(network: Member, plan: str, order: dict[str, int], draw: Callable[[], str]) -> None:
    """Do what is To do until nothing is; what is left stays."""
    left: set[str] = set()
    while ready := [
        key
        for key, status in sorted(statuses(network, plan).items(), key=lambda each: order[each[0]])
        if status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT and key not in left
    ]:
        fate = draw()
        if fate == "left":
            left.add(ready[0])
            continue
        claimed = network.claim(UUID(ready[0]))
        assert len(claimed.input_assets) == len(claimed.task.inputs), "an input has no asset"
        assert all(given.model.HasField("address") for given in claimed.input_assets), "an input is gone"
        if fate == "Done":
            network.complete(claimed.attempt, messages.new_model(ready[0]))
        else:
            network.fail(claimed.attempt, pb.ERROR_TYPE_EXECUTION)


def cancel(network: Member, plan: str) -> None:
    if any(status != pb.STATUS_DONE for status in statuses(network, plan).values()):
        asked = pb.ApplyPlanActionParam(key=plan, action=pb.PLAN_ACTION_CANCELED)
        _, refusal = tried(network, plans.apply_action, asked)
        assert refusal[:6] in ("", "OE0109")


def disable(network: Member, order: dict[str, int], draw: Callable[[], bool]) -> None:
    """Take some transient outputs away, as far as that may be."""
    rows = network.rows("SELECT DISTINCT task_key FROM models WHERE transient AND NOT disabled")
    made = sorted((order[str(row.task_key)], str(row.task_key)) for row in rows if str(row.task_key) in order)
    for _, key in made:
        if draw():
            asked = pb.DisableOutputParam(compute_task_key=key, identifier="model")
            _, refusal = tried(network, task_actions.disable_output, asked)
            assert refusal[:6] in ("", "OE0108")
