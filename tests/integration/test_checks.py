"""What is found before a plan is sent, and what its tasks would wait for; nothing is written."""

from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.client.check import Check
from orchestrator.compute import checks, declines, functions, submissions
from orchestrator.engine import heartbeats
from tests.integration.test_submissions import chain, stored
from tests.kit import messages
from tests.kit.member import Member, refused


def check(network: Member, plan: pb.NewComputePlan, new: list[pb.NewComputeTask]) -> pb.PlanCheck:
    """Check a plan; nothing of the database has changed afterwards."""
    part = pb.CheckPlanParam(head=pb.PlanHead(plan=plan, tasks=len(new)), tasks=new)
    before = stored(network)
    found = network.call(checks.check, [part])
    assert stored(network) == before
    return found


def submit(network: Member, plan: pb.NewComputePlan, new: list[pb.NewComputeTask]) -> None:
    network.call(submissions.submit, [pb.SubmitPlanParam(head=pb.PlanHead(plan=plan, tasks=len(new)), tasks=new)])


def told(found: pb.PlanCheck) -> list[tuple[str, str]]:
    return [(fault.compute_task_key, fault.code) for fault in found.faults]


def test_all_faults_are_told_and_what_is_below_them_is_not(network: Member):
    plan = messages.new_plan()
    new = chain(network, plan, 10)
    new[2].outputs.clear()
    twice = messages.new_task(network.function, plan)
    other = [
        messages.new_task(network.function, plan, **change)
        for change in (
            {"worker": "nobody"},
            {"function_key": messages.new_key()},
            {"inputs": [messages.by_key("models", messages.new_key())]},
            {"inputs": [messages.by_parent("models", messages.new_key())]},
            {"key": "no key"},
            {"compute_plan_key": messages.new_key()},
            {"key": twice.key},
        )
    ]
    below = messages.new_task(network.function, plan, [other[5]])
    found = check(network, plan, [*new, twice, *other, below])
    assert sorted(told(found)) == sorted(
        [
            (new[2].key, "OE0101"),
            (other[0].key, "OE0002"),
            (other[1].key, "OE0002"),
            (other[2].key, "OE0002"),
            (other[3].key, "OE0101"),
            ("no key", "OE0101"),
            (other[5].key, "OE0003"),
            (twice.key, "OE0006"),
        ]
    )
    assert found.fault_count == 8
    messages_of = {fault.compute_task_key: fault.message for fault in found.faults}
    assert "lacks the outputs 'model'" in messages_of[new[2].key]


def test_a_cycle_and_a_plan_that_is_wrong_itself(network: Member):
    plan = messages.new_plan()
    new = chain(network, plan, 3)
    new[0].inputs.append(messages.by_parent("models", new[2]))
    assert told(check(network, plan, new)) == [(new[0].key, "OE0101")]
    assert told(check(network, messages.new_plan(name=""), [])) == [("", "OE0101")]
    with refused("OE0003", "were announced"):
        network.call(checks.check, [pb.CheckPlanParam(head=pb.PlanHead(plan=plan, tasks=1))])


def test_a_hundred_faults_are_told_and_all_are_counted(network: Member):
    plan = messages.new_plan()
    new = [messages.new_task(network.function, plan, worker="nobody") for _ in range(150)]
    found = check(network, plan, new)
    assert (len(found.faults), found.fault_count, found.tasks) == (100, 150, 150)


def test_what_is_there_already_has_no_fault_and_another_content_has(network: Member):
    plan = messages.new_plan()
    new = chain(network, plan, 3)
    submit(network, plan, new)
    assert not check(network, plan, new).faults
    assert told(check(network, plan, new[:2])) == [("", "OE0006")]
    other = messages.new_plan()
    assert told(check(network, other, [messages.new_task(network.function, other, key=new[0].key)])) == [("", "OE0006")]


def test_what_tasks_would_wait_for(network: Member, stranger: Member):
    network.heartbeat(node="node-1")
    network.call(heartbeats.heartbeat, pb.HeartbeatParam(node="node-2", slots=3))
    network.call(heartbeats.heartbeat, pb.HeartbeatParam(node="old", slots=9))
    network.execute("UPDATE nodes SET heard_at = now() - interval '1 day' WHERE name = 'old'")
    unbuilt = network.call(functions.register, messages.new_function(name="unbuilt"))
    plan = messages.new_plan()
    new = chain(network, plan, 3)
    new.append(messages.new_task(unbuilt, plan))
    new.append(messages.new_task(network.function, plan, worker="org-2"))
    found = check(network, plan, new)
    assert not found.faults
    assert [(each.name, each.owner, each.status, each.tasks) for each in found.functions] == [
        ("function", "org-1", pb.FUNCTION_STATUS_READY, 4),
        ("unbuilt", "org-1", pb.FUNCTION_STATUS_WAITING, 1),
    ]
    mine, theirs = found.workers
    assert (mine.waiting, theirs.waiting) == (0, 0)
    assert (mine.organization, mine.tasks, mine.ready, mine.nodes, mine.slots) == ("org-1", 4, 1, 2, 3)
    assert mine.HasField("last_heartbeat")
    assert (theirs.organization, theirs.tasks, theirs.ready, theirs.nodes) == ("org-2", 1, 1, 0)
    assert not theirs.HasField("last_heartbeat")
    assert found.tasks == 5


def test_how_many_tasks_wait_at_each_queue_that_the_plan_would_use(network: Member, stranger: Member):
    network.call(heartbeats.heartbeat, pb.HeartbeatParam(node="node-1", slots=2))
    first, second, _ = network.register(3)
    network.register(worker="org-2")
    network.claim(first)
    network.run(second)
    plan = messages.new_plan()
    new = [messages.new_task(network.function, plan), messages.new_task(network.function, plan, worker="org-2")]
    found = check(network, plan, new)
    assert [(each.organization, each.waiting) for each in found.workers] == [("org-1", 1), ("org-2", 1)]
    said = Check(found)
    assert said.queues == [
        "org-1: 1 task waits before this plan's 1, 0 of 2 slots taken",
        "org-2: 1 task waits before this plan's 1, nobody says how many slots it has",
    ]
    assert f"queue: {said.queues[0]}" in str(said)
    assert said.document()["queue_sentences"] == said.queues
    assert said.document()["workers"][0]["waiting"] == 1


def test_a_function_may_not_be_for_whoever_would_run_it(network: Member, stranger: Member):
    plan = messages.new_plan()
    new = chain(network, plan, 1)
    ours = network.call(functions.register, messages.new_function(new_permissions=pb.NewPermissions()))
    new += [messages.new_task(ours, plan, worker=worker) for worker in ("org-1", "org-2")]
    found = check(network, plan, new)
    assert {each.key: [*each.strangers] for each in found.functions} == {network.function.key: [], ours.key: ["org-2"]}


def test_who_is_not_there_is_named_with_the_task(network: Member):
    plan = messages.new_plan()
    (new,) = chain(network, plan, 1)
    (output,) = new.outputs.values()
    output.permissions.authorized_ids.append("nobody")
    (fault,) = check(network, plan, [new]).faults
    assert fault.message == (
        f"task {new.key}: output 'model': permissions name 'nobody', not registered in this channel"
    )


def consent(network: Member, **changes: Any) -> pb.CheckedConsent:
    plan = messages.new_plan()
    (found,) = check(network, plan, [messages.new_task(network.function, plan, **changes)]).consents
    return found


@pytest.mark.parametrize(("of_function", "seen"), [(True, pb.CONSENT_DECLINED), (False, pb.CONSENT_UNKNOWN)])
def test_what_was_seen_of_consent(network: Member, stranger: Member, of_function: bool, seen: int):
    assert consent(network, worker="org-2").consent == pb.CONSENT_UNKNOWN
    (task,) = network.register(worker="org-2")
    asked = pb.DeclineTaskParam(
        compute_task_key=str(task), reason="not approved", function=of_function, plan=not of_function
    )
    stranger.call(declines.decline, asked)
    found = consent(network, worker="org-2")
    assert (found.consent, found.reason) == (seen, "not approved" if of_function else "")
    stranger.call(declines.reconsider, pb.ReconsiderTasksParam(compute_task_keys=[str(task)]))
    stranger.run(task)
    assert consent(network, worker="org-2").consent == pb.CONSENT_SEEN
