"""How many pokes of a queue are out: as many as its slots can take, so that the order stays that of the database."""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.core.pokes import queue
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.relay import Relay
from orchestrator.embedded.valkey import Valkey
from orchestrator.engine import claims, heartbeats, outbox
from orchestrator.engine.sweeps import lost_pokes
from orchestrator.engine.transaction import Database
from tests.kit.member import Member, after, at_once, made

AGE = 30.0
_SENT = "SELECT id, sent_at, key FROM outbox WHERE queue = :queue AND sent_at IS NOT NULL ORDER BY priority DESC, id"


class Poked:
    """An organization whose relay is asked by hand."""

    def __init__(self, database: Database, relay: Relay) -> None:
        self.member = Member(database, f"org-{uuid.uuid4()}")
        self.queue = queue(self.member.organization)
        self._relay = relay
        self._sweep = made(lost_pokes, database, lost_poke_age=AGE)
        self._seen = set(self._sent())

    def node(self, slots: int, *held: pb.Attempt, name: str = "node-1", channel: str = "channel") -> None:
        """Say how many slots a node has, and what it runs."""
        asked = pb.HeartbeatParam(node=name, slots=slots, attempts=held)
        organization, database = self.member.organization, self.member.database
        database.run(organization, channel, lambda transaction: heartbeats.heartbeat(transaction, asked))

    def register(self, count: int, plan: pb.ComputePlan | None = None) -> list[UUID]:
        """New tasks that the organization runs."""
        return self.member.register(count, plan=plan, worker=self.member.organization)

    def relay(self) -> list[UUID]:
        """Send what has room; return the tasks that were poked for, in the order of their pokes."""
        while self._relay.send(self.queue):
            pass
        sent = self._sent()
        new = [key for identity, key in sent.items() if identity not in self._seen]
        self._seen |= set(sent)
        return new

    def _sent(self) -> dict[tuple[int, datetime], UUID]:
        rows = self.member.rows(_SENT, queue=self.queue)
        return {(row.id, row.sent_at): row.key for row in rows}

    def sweep(self, seconds: float) -> int:
        """Look for lost pokes as if so much time had gone by."""
        return self._sweep.sweep(self.member.database, after(seconds))

    def age(self, seconds: float) -> None:
        """Let time go by for the pokes that were sent."""
        self.member.execute(
            """WITH aged AS (
                   UPDATE outbox SET sent_at = sent_at - CAST(:age AS interval) WHERE queue = :queue
                   RETURNING id, sent_at
               )
               UPDATE sent_pokes SET sent_at = aged.sent_at FROM aged WHERE sent_pokes.id = aged.id""",
            age=timedelta(seconds=seconds),
            queue=self.queue,
        )
        self._seen = set(self._sent())

    def prefer(self, task: UUID, priority: int) -> None:
        """Give a task, and its poke, a priority."""
        self.member.execute("UPDATE tasks SET priority = :priority WHERE key = :key", key=task, priority=priority)
        self.member.execute(
            """WITH preferred AS (UPDATE outbox SET priority = :priority WHERE key = :key RETURNING id, priority)
               UPDATE unsent_pokes SET priority = preferred.priority FROM preferred
               WHERE unsent_pokes.id = preferred.id""",
            key=task,
            priority=priority,
        )


@pytest.fixture
def poked(database: Database, valkey: Valkey) -> Iterator[Poked]:
    relay = Relay(database, Brokers(valkey.url))
    try:
        yield Poked(database, relay)
    finally:
        relay.close()


def test_two_for_each_slot_are_out_and_two_more(poked):
    poked.node(3)
    tasks = poked.register(12)
    assert poked.relay() == tasks[:8]
    assert poked.relay() == []


def test_nobody_says_slots_all_are_out(poked):
    tasks = poked.register(12)
    assert poked.relay() == tasks


def test_an_older_node_that_does_not_say_slots_lifts_the_bound(poked):
    poked.node(1)
    poked.node(0, name="older")
    tasks = poked.register(12)
    assert poked.relay() == tasks


def test_the_slots_of_a_node_that_is_heard_in_two_channels_count_once(poked):
    poked.node(1)
    poked.node(1, channel="another")
    tasks = poked.register(12)
    assert poked.relay() == tasks[:4]


def test_the_slots_of_a_node_that_is_silent_do_not_count_beside_one_that_lives(poked):
    poked.node(5, name="gone")
    poked.member.execute("UPDATE nodes SET heard_at = heard_at - interval '1 hour'")
    poked.node(1)
    tasks = poked.register(20)
    assert poked.relay() == tasks[:4]


def test_more_slots_than_a_number_can_hold_hold_up_nothing(poked):
    poked.node(2**31 - 1)
    poked.node(2**31 - 1, name="node-2")
    tasks = poked.register(12)
    assert poked.relay() == tasks


def test_a_claim_makes_room(poked):
    poked.node(1)
    tasks = poked.register(8)
    assert poked.relay() == tasks[:4]
    poked.member.claim(tasks[2])
    assert poked.relay() == [tasks[4]]


def test_a_claim_without_a_poke_makes_room_for_none_twice(poked):
    poked.node(1)
    tasks = poked.register(8)
    poked.member.claim(tasks[0])
    poked.relay()
    poked.member.claim(tasks[7])
    assert sum(poked.member.row(task).attempts for task in tasks) == 2
    for _ in range(6):
        due = [task for task in tasks if poked.member.word(task) == "To do"]
        poked.member.claim(due[0])
        poked.relay()
    assert poked.member.words(tasks) == ["Doing"] * 8


def test_what_is_declined_or_cancelled_makes_room(poked):
    poked.node(1)
    tasks = poked.register(8)
    assert poked.relay() == tasks[:4]
    poked.member.execute("UPDATE task_states SET poked_at = NULL WHERE key = :key", key=tasks[0])
    assert poked.relay() == [tasks[4]]
    poked.member.end(tasks[1], pb.TASK_ACTION_CANCELED)
    assert poked.relay() == [tasks[5]]


def test_a_cancelled_plan_makes_room_for_the_next(poked):
    poked.node(1)
    poked.register(8)
    poked.relay()
    other = poked.member.new_plan()
    tasks = poked.register(5, plan=other)
    assert poked.relay() == []
    poked.member.cancel()
    assert poked.relay() == tasks[:4]


def test_what_pauses_before_it_is_tried_again_makes_room(poked):
    poked.node(1)
    tasks = poked.register(6)
    assert poked.relay() == tasks[:4]
    poked.member.fail(poked.member.claim(tasks[0]).attempt)
    assert poked.relay() == [tasks[4]]


def test_slots_that_shrink_take_nothing_back_and_hold_up_nothing(poked):
    poked.node(4)
    tasks = poked.register(14)
    assert poked.relay() == tasks[:10]
    poked.node(1)
    assert poked.relay() == []
    for task in tasks[:7]:
        poked.member.claim(task)
    assert poked.relay() == [tasks[10]]


def test_without_a_sweep_an_old_poke_is_believed_lost(poked):
    poked.node(1)
    tasks = poked.register(8)
    assert poked.relay() == tasks[:4]
    poked.age(poked.member.database.rules.silence.total_seconds() + 1)
    assert poked.relay() == tasks[4:]


def test_old_pokes_that_wait_for_a_busy_node_are_not_believed_lost(poked):
    poked.node(1)
    tasks = poked.register(9)
    assert poked.relay() == tasks[:4]
    running = poked.member.claim(tasks[0]).attempt
    poked.node(1, running)
    assert poked.relay() == [tasks[4]]
    poked.age(poked.member.database.rules.silence.total_seconds() + 1)
    assert poked.relay() == []
    poked.member.complete(running)
    poked.node(1)
    assert poked.relay() == tasks[5:]


def test_those_of_the_highest_priority_go_first(poked):
    tasks = poked.register(8)
    poked.node(1)
    poked.prefer(tasks[6], 1)
    poked.prefer(tasks[7], 2)
    assert poked.relay() == [tasks[7], tasks[6], tasks[0], tasks[1]]
    last = poked.register(1)[0]
    poked.prefer(last, 3)
    poked.member.claim(tasks[7])
    assert poked.relay() == [last]


def test_a_poke_that_had_to_wait_for_room_is_not_lost_when_it_is_sent(poked):
    poked.node(1)
    tasks = poked.register(8)
    poked.member.execute("UPDATE task_states SET poked_at = poked_at - interval '1 hour'")
    assert poked.relay() == tasks[:4]
    assert poked.sweep(AGE - 5) == 0
    assert poked.relay() == []
    assert poked.sweep(AGE + 5) == 4


def test_what_is_poked_again_goes_before_what_was_never_sent(poked):
    """A worker died with them in hand, or the broker was flushed."""
    poked.node(1)
    tasks = poked.register(8)
    assert poked.relay() == tasks[:4]
    assert poked.sweep(AGE + 1) == 4
    assert poked.relay() == tasks[:4]
    assert poked.relay() == []


def test_what_is_poked_again_takes_the_room_that_it_had(poked):
    poked.node(5)
    tasks = poked.register(14)
    assert poked.relay() == tasks[:12]
    assert poked.sweep(AGE + 1) == 12
    assert poked.relay() == tasks[:12]
    poked.node(1)
    assert poked.sweep(3 * AGE + 5) == 12
    assert poked.relay() == tasks[:4]


def test_a_purge_keeps_its_place_among_what_has_room(poked):
    before = poked.register(1)
    purge = outbox.Poke(outbox.PURGE, poked.queue, UUID(int=0), 0)
    poked.member.database.run("org-1", "ours", lambda transaction: transaction.pokes.pokes.append(purge))
    after_it = poked.register(1)
    poked.prefer(after_it[0], 5)
    with poked.member.database.engine.begin() as connection:
        taken = [poke for _, poke in outbox.take(connection, poked.queue, 10)]
    assert [poke.message == outbox.PURGE for poke in taken] == [False, True, False]
    assert [taken[0].key, taken[2].key] == [*before, *after_it]


def test_however_many_are_out_few_of_them_are_read_when_more_are_sent(poked):
    poked.register(100)
    poked.member.execute(
        """INSERT INTO sent_pokes (id, queue, priority, key, attempt, sent_at)
           SELECT -number, :queue, 0, gen_random_uuid(), 1, now() - number * interval '1 second'
           FROM generate_series(1, 5000) AS number""",
        queue=poked.queue,
    )
    with poked.member.database.begin() as connection:
        outbox.mark_sent(
            connection, poked.queue, [identity for identity, _ in outbox.take(connection, poked.queue, 100)]
        )
        # The rows that whole readings of the table have met in this transaction.
        met = text("SELECT pg_stat_get_xact_tuples_returned('sent_pokes'::regclass)")
        assert connection.execute(met).scalar_one() < 1_000


def test_what_was_sent_when_nobody_knew_the_slots_is_soon_over_and_meanwhile_little_of_it_is_read(poked):
    early = poked.register(250)
    assert poked.relay() == early
    poked.node(1)
    late = poked.register(1)
    with poked.member.database.begin() as connection:
        connection.begin_in_order()
        assert outbox.take(connection, poked.queue, 100, timedelta(seconds=AGE)) == []
        met = text("SELECT pg_stat_get_xact_tuples_fetched('sent_pokes_order'::regclass)")
        # Twice of what one slot has.
        assert connection.execute(met).scalar_one() == 8
    for key in early:
        poked.member.run(key)
    assert poked.relay() == late
    assert poked.member.rows("SELECT count(*) FROM sent_pokes")[0].count == 151


def test_every_one_of_many_is_poked_for_in_the_end(poked):
    poked.node(2)
    tasks = poked.register(60)
    seen: list[UUID] = []
    while new := poked.relay():
        seen += new
        at_once(*(lambda task=task: poked.member.claim(task) for task in new[:4]))
        for task in new[4:]:
            poked.member.call(claims.claim, pb.ClaimTaskParam(compute_task_key=str(task), claim_id="one"))
    assert seen == tasks
