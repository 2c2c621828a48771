"""Why does this task not run: every state, and every reason for it, in one sentence and as data; without the wire."""

import re
from uuid import UUID

import pytest

from orchestrator import protos as pb
from orchestrator.compute import builds, declines, explanations, functions
from orchestrator.core.states import TASK_TRANSITIONS
from orchestrator.engine import heartbeats
from orchestrator.engine import plans as latches
from tests.kit import messages
from tests.kit.member import Member, refused

CLOCK = r"(\d{4}-\d\d-\d\d )?\d\d:\d\d UTC"


def explain(network: Member, task: UUID | str) -> pb.Explanation:
    """Any member of the channel may ask."""
    return network.call(explanations.explain, pb.ExplainTaskParam(compute_task_key=str(task)), "org-2")


def says(found: pb.Explanation, *clauses: str) -> bool:
    """Say whether the sentence is the state and these clauses, with times between."""
    if re.fullmatch(rf"[\w ]+ since {CLOCK}: " + "; ".join(clauses), found.sentence):
        return True
    pytest.fail(f"it says: {found.sentence}")


def kinds(found: pb.Explanation) -> list[str]:
    return [pb.CauseKind.Name(cause.kind).removeprefix("CAUSE_") for cause in found.causes]


def beat(network: Member, slots: int, *held: pb.Attempt, node: str = "node-1") -> None:
    network.call(heartbeats.heartbeat, pb.HeartbeatParam(node=node, attempts=held, slots=slots))


def silence(network: Member) -> None:
    """All nodes have not been heard for an hour."""
    network.execute("UPDATE nodes SET heard_at = heard_at - interval '1 hour'")
    network.execute("UPDATE attempts SET lease_until = lease_until - interval '1 hour'")


def short(task: UUID) -> str:
    return str(task)[:8]


def unbuilt(network: Member) -> tuple[pb.Function, UUID]:
    function = network.call(functions.register, messages.new_function(name="train"))
    return function, network.register(function_key=function.key)[0]


def test_a_task_waits_for_its_function(network, stranger):
    beat(network, 1)
    function, task = unbuilt(network)
    found = explain(network, task)
    assert says(found, "org-1 has not begun to build its function 'train'")
    assert found.status == pb.STATUS_WAITING_FOR_BUILDER_SLOT
    network.act(function, pb.FUNCTION_ACTION_BUILDING)
    found = explain(network, task)
    assert says(found, "org-1 builds its function 'train'")
    (cause,) = found.causes
    assert (cause.kind, cause.asset_key, cause.organization) == (pb.CAUSE_FUNCTION, function.key, "org-1")
    silence(network)
    assert kinds(explain(network, task)) == ["FUNCTION", "AWAY"]


def test_what_delays_a_build_is_told(network, stranger):
    function, task = unbuilt(network)
    network.act(function, pb.FUNCTION_ACTION_BUILDING)
    asked = pb.DelayBuildParam(function_key=function.key, reason="the index is away")
    wanted = pb.GetBuildParam(function_key=function.key)
    assert not network.call(builds.get, wanted, "org-2").HasField("delay")
    with refused("OE0102"):
        stranger.call(builds.delay, asked)
    assert [network.call(builds.delay, asked).number for _ in range(2)] == [1, 2]
    found = explain(network, task)
    words = f"org-1 tries again to build its function 'train', which it did 2 times in vain, last at {CLOCK}: "
    assert says(found, f"{words}the index is away", "no node of org-1 was ever heard")
    assert found.causes[0].attempt == 2
    build = network.call(builds.get, wanted, "org-2")
    assert (build.status, build.delay.number, build.delay.reason) == (
        pb.FUNCTION_STATUS_BUILDING,
        2,
        "the index is away",
    )
    with refused("OE0101"):
        network.call(builds.delay, pb.DelayBuildParam(function_key=function.key))
    network.act(function, pb.FUNCTION_ACTION_READY)
    with refused("OE0104", "is Ready: there is nothing to build"):
        network.call(builds.delay, asked)


@pytest.mark.parametrize("way", ["failed", "cancelled"])
def test_a_task_has_ended_with_its_function(network, stranger, way):
    function, task = unbuilt(network)
    network.act(function, pb.FUNCTION_ACTION_BUILDING)
    network.act(function, pb.FUNCTION_ACTION_FAILED if way == "failed" else pb.FUNCTION_ACTION_CANCELED)
    ended = {"failed": "could not be built by", "cancelled": "was cancelled by"}[way]
    assert says(explain(network, task), f"its function 'train' {ended} org-1")


def test_a_task_waits_for_a_parent_and_the_ancestor_that_could_move_is_named(network, stranger):
    first, other = network.register(2)
    second = network.below(first)
    third = network.below(second, other)
    found = explain(network, second)
    assert says(
        found, f"waits for parent {short(first)} at org-1, To do since {CLOCK}", "no node of org-1 was ever heard"
    )
    assert [cause.compute_task_key for cause in found.causes] == [str(second), str(first)]
    beat(network, 1)
    network.claim(first)
    found = explain(network, third)
    assert kinds(found) in (["PARENT", "RUNNING"], ["PARENT", "OFFERED"], ["PARENT", "SLOTS"])
    assert f"parent {short(other)} at org-1, To do since" in found.sentence, "the farthest from its end"
    assert " and for 1 more" in found.sentence
    network.run(other)
    found = explain(network, third)
    assert says(
        found,
        f"waits for parent {short(second)} at org-1, Waiting since {CLOCK}",
        rf"{short(first)} at org-1, Doing since {CLOCK}: org-1 \(node-1\) runs attempt 1",
    )
    assert found.causes[0].asset_key == str(second)
    assert found.causes[0].count == 1


def test_a_task_to_do_pauses_before_it_is_tried_again(network, stranger):
    (task,) = network.register()
    network.fail(network.claim(task).attempt)
    found = explain(network, task)
    assert says(found, f"org-1 tries it again at {CLOCK} after an internal error of attempt 1")
    (cause,) = found.causes
    assert cause.until.ToDatetime() > found.now.ToDatetime()


def test_a_task_to_do_is_declined(network, stranger):
    (task,) = network.register()
    asked = pb.DeclineTaskParam(compute_task_key=str(task), reason="org-1 has not approved it", function=True)
    network.call(declines.decline, asked)
    assert says(explain(network, task), "org-1 declines it: org-1 has not approved it")


def test_a_task_to_do_waits_for_a_node_then_for_a_slot(network, stranger):
    first, second, third = network.register(3)
    assert says(explain(network, first), "no node of org-1 was ever heard")
    beat(network, 1)
    assert says(explain(network, first), "org-1 is told of it and has a free slot")
    beat(network, 1, network.claim(first).attempt)
    found = explain(network, third)
    assert says(found, "org-1 has 1 of 1 slots taken, 1 is before it")
    assert (found.causes[0].slots, found.causes[0].taken, found.causes[0].before) == (1, 1, 1)
    network.send()
    assert says(explain(network, third), "org-1 has 1 of 1 slots taken, 1 is before it"), "sent, in their order"
    assert says(explain(network, second), "org-1 has 1 of 1 slots taken, it is the next")
    silence(network)
    assert says(explain(network, second), f"org-1 is away since {CLOCK}")


def test_a_task_runs_and_its_node_falls_silent(network, stranger):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    beat(network, 1, attempt)
    assert says(explain(network, task), r"org-1 \(node-1\) runs attempt 1")
    silence(network)
    found = explain(network, task)
    assert says(
        found,
        r"org-1 \(node-1\) runs attempt 1",
        f"node-1 is silent since {CLOCK}, so that the attempt counts as lost",
    )


def test_a_client_without_attempts_runs_a_task(network, stranger):
    (task,) = network.register()
    network.start(task)
    assert says(explain(network, task), "org-1 runs attempt 1")


def test_a_task_is_done(network, stranger):
    (task,) = network.register()
    network.run(task)
    assert says(explain(network, task), "org-1 has completed attempt 1")


def test_a_task_has_failed_and_those_below_it_are_cancelled(network, stranger):
    (task,) = network.register()
    child = network.below(task)
    grandchild = network.below(child)
    network.fail(network.claim(task).attempt, pb.ERROR_TYPE_EXECUTION)
    assert says(explain(network, task), "attempt 1 at org-1 ended in an execution error")
    parent = f"parent {short(task)} at org-1 is Failed since {CLOCK}"
    assert says(explain(network, child), parent, "attempt 1 at org-1 ended in an execution error")
    found = explain(network, grandchild)
    assert kinds(found) == ["PARENT", "PARENT_ENDED", "FAULT"]
    network.database.run("", network.channel, lambda t: latches.cancel_stuck(t, UUID(network.plan.key)))
    found = explain(network, grandchild)
    assert found.status == pb.STATUS_CANCELED
    assert kinds(found) == ["PARENT_ENDED", "FAULT"]
    assert f"{short(task)} at org-1, Failed since" in found.sentence


def test_why_an_attempt_failed_is_told_where_its_worker_says_it(network, stranger):
    (task,) = network.register()
    network.fail(network.claim(task).attempt, pb.ERROR_TYPE_BUILD, reason="a model: is not for org-1")
    assert says(explain(network, task), "attempt 1 at org-1 ended in a build error: a model: is not for org-1")


def test_a_task_was_failed_or_cancelled_by_its_owner(network, stranger):
    failed, cancelled = network.register(2)
    network.end(cancelled, pb.TASK_ACTION_CANCELED)
    assert says(explain(network, cancelled), "asked by org-1")
    network.end(failed, pb.TASK_ACTION_FAILED)
    assert says(explain(network, failed), "asked by org-1")


def test_a_plan_was_cancelled(network, stranger):
    (task,) = network.register()
    network.cancel()
    found = explain(network, task)
    assert says(found, "its compute plan was cancelled by org-1")
    assert found.causes[0].asset_key == network.plan.key


def test_a_plan_had_failed(network, stranger):
    task, other = network.register(2)
    network.end(other, pb.TASK_ACTION_FAILED)
    network.database.run("", network.channel, lambda t: latches.cancel_stuck(t, UUID(network.plan.key)))
    found = explain(network, task)
    assert found.status == pb.STATUS_CANCELED
    assert says(found, f"its compute plan has failed at {CLOCK}")


def test_every_state_has_an_answer():
    assert set(explanations._OF_STATUS) == set(TASK_TRANSITIONS)


def test_when_its_events_are_forgotten_it_is_since_its_registration(network, stranger):
    (task,) = network.register()
    network.execute("DELETE FROM events WHERE asset_key = :key", key=str(task))
    assert explain(network, task).since == explain(network, task).since
    assert says(explain(network, task), "no node of org-1 was ever heard")


def test_what_is_not_there_is_not_explained(network, stranger):
    with refused("OE0002"):
        explain(network, messages.new_key())
    with refused("OE0101"):
        explain(network, "no key")
