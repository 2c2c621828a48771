"""What a heartbeat renews and stops, and what it tells of nodes and cancellations; without the wire between."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import protos as pb
from orchestrator.compute import nodes
from orchestrator.engine import heartbeats
from tests.integration.attempts import LEASE, forged
from tests.kit import messages
from tests.kit.member import Member, refused


def test_a_heartbeat_renews_what_lives_and_stops_the_rest(network):
    living, done, cancelled, lost = network.register(4)
    attempts = [network.claim(task).attempt for task in (living, done, cancelled, lost)]
    network.complete(attempts[1])
    network.end(cancelled, pb.TASK_ACTION_CANCELED)
    network.release(attempts[3])
    before = network.attempts(living)[0].lease_until
    answer = network.heartbeat(*attempts)
    assert answer.lease.ToTimedelta() == LEASE
    assert network.attempts(living)[0].lease_until > before
    assert {(stop.compute_task_key, stop.number, stop.reason) for stop in answer.stops} == {
        (str(done), 1, "the task is Done"),
        (str(cancelled), 1, "the task is Cancelled"),
        (str(lost), 1, "the task is To do"),
    }


def test_an_attempt_of_nothing_is_stopped(network):
    unknown = pb.Attempt(compute_task_key=messages.new_key(), number=1, token="token")
    (stop,) = network.heartbeat(unknown).stops
    assert stop.reason == "the task does not exist"


def test_receipts_tell_how_far_a_cancellation_has_reached(network):
    here, there, ended, waiting = network.register(4)
    attempts = [network.claim(here, node="a").attempt, network.claim(there, node="b").attempt]
    network.run(ended)
    assert not network.receipts()
    network.cancel()
    first, second = network.receipts()
    assert [(r.compute_task_key, r.worker, r.node, r.number) for r in (first, second)] == [
        (str(here), "org-1", "a", 1),
        (str(there), "org-1", "b", 1),
    ]
    assert all(r.HasField("requested") and not r.HasField("delivered") for r in (first, second))
    assert str(waiting) not in {first.compute_task_key, second.compute_task_key}

    assert [stop.compute_task_key for stop in network.heartbeat(attempts[0], node="a").stops] == [str(here)]
    first, second = network.receipts()
    assert first.requested.ToDatetime() <= first.delivered.ToDatetime()
    assert [(r.HasField("delivered"), r.HasField("stopped")) for r in (first, second)] == [
        (True, False),
        (False, False),
    ]

    network.heartbeat(stopped=attempts, node="a")
    told = network.receipts()
    assert all(r.HasField("stopped") and r.HasField("delivered") for r in told)
    assert told[0].delivered == first.delivered
    assert told[0].stopped.ToDatetime() > told[0].delivered.ToDatetime()
    network.heartbeat(*attempts, stopped=attempts)
    assert network.receipts() == told


def test_a_receipt_is_taken_from_the_tokens_holder_only(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    network.heartbeat(stopped=[attempt])
    assert network.attempts(task)[0].stopped_at is None
    network.cancel()
    network.heartbeat(stopped=[forged(attempt, token="guessed")])
    (receipt,) = network.receipts()
    assert not receipt.HasField("stopped")
    with refused("OE0104"):
        network.complete(attempt)


def test_a_cancellation_is_of_a_plan_that_exists(network):
    for key, code in ((messages.new_key(), "OE0002"), ("no key", "OE0101")):
        with refused(code):
            network.call(nodes.cancellation, pb.GetCancellationParam(compute_plan_key=key))


def test_nodes_are_listed_when_they_were_heard(network, stranger, database):
    def listed() -> dict[tuple[str, str], pb.Node]:
        answer = network.call(nodes.get_all, pb.GetNodesParam())
        assert answer.lease.ToTimedelta() == LEASE
        assert abs(answer.now.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
        return {(node.organization, node.name): node for node in answer.nodes}

    assert not listed()
    network.heartbeat(node="b")
    stranger.heartbeat(node="b")
    attempts = [network.claim(task).attempt for task in network.register(2)]
    network.heartbeat(*attempts, node="a")
    Member(database, channel="other").heartbeat(node="c")
    found = listed()
    assert list(found) == [("org-1", "a"), ("org-1", "b"), ("org-2", "b")]
    assert [node.attempts for node in found.values()] == [2, 0, 0]
    before = found["org-1", "a"].last_heartbeat.ToDatetime()
    network.heartbeat(node="a")
    node = listed()["org-1", "a"]
    assert node.last_heartbeat.ToDatetime() > before
    assert node.attempts == 0


def test_a_token_counts_only_for_its_organization_and_channel(network, stranger):
    living, cancelled = network.register(2)
    attempts = [network.claim(task).attempt for task in (living, cancelled)]
    network.end(cancelled, pb.TASK_ACTION_CANCELED)
    before = network.attempts(living)[0]
    for thief in (stranger, Member(network.database, "org-1", "elsewhere")):
        told = thief.heartbeat(*attempts, stopped=[attempts[1]])
        assert {stop.reason for stop in told.stops} == {"the task does not exist"}, "as for a task of nobody"
        assert network.attempts(living)[0] == before
    (receipt,) = network.receipts()
    assert not receipt.HasField("delivered")
    assert not network.heartbeat(attempts[0]).stops
    assert network.attempts(living)[0].lease_until > before.lease_until


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        ("org.org-2", "another organization's; org.org-1 is yours"),
        ("module.x", "no kind of work .* lets org-1 read it"),
    ],
)
def test_a_queue_that_the_caller_may_not_read_is_refused(network, queue, reason):
    before = network.rows("SELECT * FROM queues"), network.rows("SELECT * FROM nodes")
    with refused("OE0102", f"queue {queue}.*{reason}"):
        network.call(heartbeats.heartbeat, pb.HeartbeatParam(node="node-1", queue=queue))
    assert (network.rows("SELECT * FROM queues"), network.rows("SELECT * FROM nodes")) == before


def test_a_worker_may_name_the_queue_of_its_organization(network):
    network.call(heartbeats.heartbeat, pb.HeartbeatParam(node="node-1", queue="org.org-1"))
    assert [row.name for row in network.rows("SELECT name FROM queues")] == ["org.org-1"]


def test_a_queue_that_was_heard_just_now_is_not_written_again(network):
    """Its row is one for all its nodes, who would wait for each other."""

    def written() -> list[str]:
        return [row.xmin for row in network.rows("SELECT CAST(xmin AS text) FROM queues")]

    network.heartbeat(node="node-1")
    before = written()
    network.heartbeat(node="node-2")
    assert written() == before
    network.execute("UPDATE queues SET heard_at = heard_at - :past", past=LEASE / 10)
    before = written()
    network.heartbeat(node="node-1")
    assert written() != before
