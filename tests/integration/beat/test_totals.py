"""The sweep that counts plans, tasks, queues and attempts, and what `/metrics` makes of it."""

import re

from prometheus_client import CollectorRegistry

from orchestrator import protos as pb
from orchestrator.core.vitals import StateTotals
from orchestrator.engine import totals, vitals
from orchestrator.engine.sweeps import totals as sweeps
from orchestrator.engine.transaction import Database
from orchestrator.gateway.metrics import exposition
from orchestrator.store.statements import SQL_NAMES
from tests.kit.member import Member, after, at_once, made


def counted(database: Database) -> totals.Totals:
    # What has settled.
    later = after(3600)
    made(sweeps, database).sweep(database, later)
    with database.begin() as connection:
        return totals.read(connection, later)


def states(found: list[StateTotals]) -> dict[tuple[str, str], int]:
    return {(each.organization, each.state): each.count for each in found}


def test_plans_and_tasks_are_counted_by_organization_and_state(
    database: Database, network: Member, stranger: Member
) -> None:
    done, doing, to_do = network.register(3)
    network.run(done)
    network.claim(doing)
    network.below(to_do)
    failing = network.new_plan()
    network.end(network.register(1, plan=failing)[0], pb.TASK_ACTION_FAILED)
    stranger.run(stranger.register(worker="org-2")[0])
    stranger.cancel(stranger.new_plan())
    found = counted(database)
    assert states(found.tasks) == {
        ("org-1", "Done"): 1,
        ("org-1", "Doing"): 1,
        ("org-1", "To do"): 1,
        ("org-1", "Waiting"): 1,
        ("org-1", "Failed"): 1,
        ("org-2", "Done"): 1,
    }
    assert states(found.plans) == {
        ("org-1", "Doing"): 1,
        ("org-1", "Failed"): 1,
        ("org-2", "Done"): 1,
        ("org-2", "Cancelled"): 1,
    }
    network.run(to_do)
    assert states(counted(database).tasks)["org-1", "To do"] == 1


def test_a_queue_is_as_deep_as_tasks_are_to_do_in_it_and_as_old_as_the_first(
    database: Database, network: Member
) -> None:
    first, second, third = network.register(3)
    network.send()
    network.execute("UPDATE outbox SET created_at = created_at - interval '100 s'")
    network.claim(first)
    network.end(second, pb.TASK_ACTION_CANCELED)
    # Poked once more, and still one task.
    database.run("org-1", "ours", lambda transaction: transaction.pokes.run("org.org-1", third, 1))
    (queue,) = counted(database).queues
    assert (queue.name, queue.depth) == ("org.org-1", 1)
    assert 3690 < queue.oldest < 3760
    network.claim(third)
    assert counted(database).queues == []


def test_attempts_are_counted_once_as_they_end_by_their_end_and_how_long_they_took(
    database: Database, network: Member
) -> None:
    counted(database)
    network.execute("UPDATE totals SET seconds = 0 WHERE name = 'counted'")
    done, retried = network.register(2)
    (failed,) = network.register(plan=network.new_plan())
    network.run(done)
    network.fail(network.claim(failed).attempt, pb.ERROR_TYPE_EXECUTION)
    network.fail(network.claim(retried).attempt, pb.ERROR_TYPE_INTERNAL)
    network.execute("UPDATE attempts SET claimed_at = ended_at - interval '30 s'")
    at_once(*[lambda: counted(database)] * 3)
    (attempts,) = counted(database).attempts
    assert attempts.ended == {("Done", ""): 1, ("Failed", "execution"): 1, ("To do", "internal"): 1}
    assert dict(attempts.within)[10] == 0
    assert dict(attempts.within)[60] == 3
    assert round(attempts.seconds) == 90


def test_metrics_tell_it_without_a_key(database: Database, network: Member) -> None:
    counted(database)
    network.execute("UPDATE totals SET seconds = 0 WHERE name = 'counted'")
    network.run(network.register()[0])
    network.register()
    network.send()
    counted(database)
    told = exposition(CollectorRegistry(), lambda: vitals.read(database)).decode()
    for line in (
        'orchestrator_tasks{organization="org-1",state="To do"} 1.0',
        'orchestrator_plans{organization="org-1",state="Doing"} 1.0',
        'orchestrator_queue_depth{queue="org.org-1"} 1.0',
        'orchestrator_attempts_total{fault="",organization="org-1",outcome="Done"} 1.0',
        'orchestrator_attempt_seconds_bucket{le="+Inf",organization="org-1"} 1.0',
    ):
        assert line in told
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", told)
    assert SQL_NAMES["TO_DO"] not in re.findall(r'state="(.*?)"', told)
