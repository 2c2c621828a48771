"""Tasks that a sweep cannot repair, of a kind that is not installed here or with a broken row, hold up no other."""

import pytest

from orchestrator.calls.refusals import refusal
from orchestrator.core.errors import NotFoundError, UnknownKindError
from orchestrator.core.rules import Rules
from orchestrator.engine import kinds
from orchestrator.engine.sweeps import due_retries, expired_leases, lost_pokes, stuck_tasks
from tests.kit.member import Member, after, made

LOST = Rules().lease.total_seconds() + 1


def forget_kind(member: Member, *tasks: object) -> None:
    """Make tasks, and their plan, those of a kind that is not installed."""
    member.execute("UPDATE tasks SET kind = 'gone' WHERE key = ANY(:keys)", keys=list(tasks))
    member.execute("UPDATE plans SET kind = 'gone' FROM tasks WHERE plans.key = plan_key AND tasks.kind = 'gone'")


def test_more_lost_attempts_than_a_batch_hold_up_nothing(database, network):
    gone = network.register(5)
    for task in gone:
        network.claim(task)
    (known,) = network.register(plan=network.new_plan())
    network.claim(known)
    forget_kind(network, *gone)
    assert made(expired_leases, database).sweep(database, after(LOST)) == 1
    assert network.word(known) == "To do"
    assert [network.row(task).token_hash is None for task in gone] == [False] * 5


def test_a_row_that_cannot_be_repaired_holds_up_no_other_and_is_not_hidden(database, network):
    broken, whole = network.register()[0], network.register(plan=network.new_plan())[0]
    for task in (broken, whole):
        network.claim(task)
    network.execute("DELETE FROM plans WHERE key = (SELECT plan_key FROM tasks WHERE key = :key)", key=broken)
    with pytest.raises(NotFoundError, match=r"plan .* does not exist"):
        made(expired_leases, database).sweep(database, after(LOST))
    assert network.words([broken, whole]) == ["Doing", "To do"]


def test_more_rows_that_cannot_be_repaired_than_a_batch_hold_up_no_other(database, network):
    broken, whole = network.register(5), network.register(plan=network.new_plan())[0]
    for task in (*broken, whole):
        network.claim(task)
    network.execute("DELETE FROM plans WHERE key = (SELECT plan_key FROM tasks WHERE key = :key)", key=broken[0])
    for _ in range(2):
        with pytest.raises(NotFoundError, match=r"plan .* does not exist"):
            made(expired_leases, database).sweep(database, after(LOST))
        assert network.words([*broken, whole]) == ["Doing"] * 5 + ["To do"]


def test_more_stuck_plans_than_a_batch_hold_up_nothing(database, network):
    plans = [network.new_plan() for _ in range(6)]
    tasks = [network.register(plan=plan)[0] for plan in plans]
    network.execute("UPDATE plans SET ended_at = now(), outcome = 5 WHERE key IN (SELECT plan_key FROM tasks)")
    known = max(tasks, key=lambda task: network.row(task).plan_key)
    forget_kind(network, *(task for task in tasks if task != known))
    assert made(stuck_tasks, database).sweep(database, after(0)) == 1
    assert network.word(known) == "Cancelled"


def test_they_are_poked_for_as_others_are(database, network):
    (task,) = network.register()
    network.send()
    forget_kind(network, task)
    assert made(lost_pokes, database).sweep(database, after(31)) == 1
    assert made(due_retries, database).sweep(database, after(31)) == 0


def test_a_claim_is_refused_and_says_what_to_install(network):
    (task,) = network.register()
    forget_kind(network, task)
    before = network.row(task)
    with pytest.raises(UnknownKindError) as caught:
        network.claim(task)
    answer = refusal("ClaimTask", caught.value)
    assert (answer.outcome, answer.code) == ("UNIMPLEMENTED", "OE0010")
    assert answer.message == (
        f"kind of work 'gone' is not known here ({', '.join(kinds.names())} are): "
        "install what brings it, also where beat runs"
    )
    assert network.row(task) == before
