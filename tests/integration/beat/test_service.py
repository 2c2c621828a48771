"""No lease is over that nobody could renew: the orchestrator must have served for a whole lease without a gap."""

import pytest

from orchestrator.compute.sweeps import expired_leases
from orchestrator.core.rules import Rules
from orchestrator.engine import presence
from tests.kit.member import after, at_once, made

LEASE, GAP = Rules().lease.total_seconds(), Rules().gap.total_seconds()


@pytest.fixture
def overdue(database, network):
    """The sweep, of a task whose lease ran out long ago; the servers' notes are forgotten afterwards."""
    (task,) = network.register()
    network.claim(task)
    sweep = made(expired_leases, database)
    yield lambda: sweep.sweep(database, after(10 * LEASE))
    network.execute("DELETE FROM service")


def note(database) -> bool:
    with database.engine.begin() as connection:
        return presence.note(connection, Rules().gap)


def serve(network, since: float, last: float) -> None:
    """Have the orchestrator serve from so many seconds ago to so many seconds ago."""
    network.execute("DELETE FROM service")
    network.execute(
        "INSERT INTO service VALUES (1, now() - make_interval(secs => :since), now() - make_interval(secs => :last))",
        since=since,
        last=last,
    )


def served(network) -> tuple[float, float]:
    """Return since how many seconds it has been serving, and how many ago it said so last."""
    (row,) = network.rows(
        "SELECT extract(epoch FROM now() - served_since) AS since, extract(epoch FROM now() - served_at) AS last "
        "FROM service"
    )
    return float(row.since), float(row.last)


def test_without_any_note_a_lease_ends(overdue):
    assert overdue() == 1


@pytest.mark.parametrize(
    ("since", "last", "ended"),
    [
        pytest.param(LEASE + 1, 0, 1, id="a whole lease"),
        pytest.param(LEASE + 1, GAP - 1, 1, id="a note is late"),
        pytest.param(LEASE - 1, 0, 0, id="less than a lease since the last gap"),
        pytest.param(10 * LEASE, GAP + 1, 0, id="away"),
    ],
)
def test_a_lease_ends_only_when_it_could_be_renewed(network, overdue, since, last, ended):
    serve(network, since, last)
    assert overdue() == ended


def test_a_short_absence_is_none(database, network, overdue):
    serve(network, 2 * LEASE, GAP - 1)
    assert not note(database)
    since, last = served(network)
    assert since >= 2 * LEASE
    assert last < 1
    assert overdue() == 1


def test_after_an_absence_a_whole_lease_must_pass(database, network, overdue):
    serve(network, 10 * LEASE, GAP + 1)
    assert note(database)
    assert max(served(network)) < 1
    assert not note(database)
    assert overdue() == 0
    serve(network, LEASE + 1, GAP - 1)
    note(database)
    assert overdue() == 1


def test_several_servers_are_one_service(database, network, overdue):
    assert at_once(*[lambda: note(database)] * 8).count(True) == 1
    serve(network, LEASE + 1, GAP - 1)
    at_once(*[lambda: note(database)] * 8)
    since, last = served(network)
    assert (since > LEASE, last < 1) == (True, True)


def test_the_first_note_begins_the_service(database, network, overdue):
    assert note(database)
    assert overdue() == 0
