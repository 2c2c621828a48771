"""Gangs as the database has them: which wait, which were let in, and what else their queues are used for."""

from collections.abc import Collection, Mapping
from uuid import UUID

from orchestrator.engine import nodes
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.tasks.gangs import Gang, Room
from orchestrator.store.statements import statement

_INSERT = statement("""
    INSERT INTO gangs (gate, plan, queue, count)
    SELECT gate, :plan, queue, count
    FROM unnest(CAST(:gates AS uuid[]), CAST(:queues AS text[]), CAST(:counts AS int[])) AS gang (gate, queue, count)
""")


def insert(transaction: Transaction, plan: UUID, gangs: Mapping[UUID, Mapping[str, int]]) -> None:
    """Keep the gangs of a new run.

    Args:
        transaction: that keeps it.
        plan: of its steps.
        gangs: key of a gate -> queue -> how many containers start together there.
    """
    rows = [(gate, queue, count) for gate, wants in gangs.items() for queue, count in wants.items()]
    if rows:
        gates, queues, counts = zip(*rows, strict=True)
        parameters = {"plan": plan, "gates": list(gates), "queues": list(queues), "counts": list(counts)}
        transaction.connection.execute(_INSERT, parameters)


_FORGET = statement("DELETE FROM gangs WHERE plan = :plan")


def forget(transaction: Transaction, plan: UUID) -> None:
    """Keep no more what the gangs of a run are, which is over."""
    transaction.connection.execute(_FORGET, {"plan": plan})


# Gates of all channels: they share the slots of their queues.
_LOCK = statement("SELECT pg_advisory_xact_lock(hashtextextended('orchestrator gangs', 0))")
_WAITING = statement("""
    SELECT gate, plan, queue, count, max(count) OVER (PARTITION BY plan, queue) AS needed, poked_at
    FROM gangs LEFT JOIN task_states ON key = gate AND status = $TO_DO AND poked_at IS NOT NULL
    WHERE plan IN (SELECT plan FROM gangs JOIN task_states ON key = gate WHERE status = $TO_DO)
    ORDER BY poked_at, gate
""")
_HELD = statement("""
    SELECT plan, queue, max(count) AS count FROM gangs
    WHERE plan IN (SELECT plan FROM gangs JOIN task_states ON key = gate WHERE status = $DONE)
      AND EXISTS (SELECT FROM tasks JOIN task_states USING (key)
                  WHERE task_states.plan_key = plan AND tasks.queue = gangs.queue AND status IN ($LIVE))
    GROUP BY plan, queue
""")
# What is run, and what is on its way to be.
_BUSY = statement(
    """
    SELECT queue, plan, count(DISTINCT key) AS count
    FROM (SELECT queue, plan_key AS plan, key
          FROM unsettled JOIN attempts USING (task_key, number) JOIN tasks ON key = task_key
          WHERE attempts.ended_at IS NULL AND queue = ANY(CAST(:queues AS text[]))
          UNION ALL
          SELECT queue, plan_key, key FROM sent_pokes JOIN task_states USING (key)
          WHERE queue = ANY(CAST(:queues AS text[])) AND status = $TO_DO AND attempts + 1 = attempt) AS busy
    GROUP BY queue, plan
    """
)


def lock(transaction: Transaction) -> None:
    """Keep others from letting in gangs until the transaction ends."""
    transaction.connection.execute(_LOCK)


def waiting(transaction: Transaction) -> list[Gang]:
    """Return the gangs that wait for their start, of any channel, the oldest first."""
    rows = transaction.connection.execute(_WAITING).all()
    needs: dict[UUID, dict[str, int]] = {}
    wants: dict[UUID, dict[str, int]] = {}
    for row in rows:
        needs.setdefault(row.plan, {})[row.queue] = row.needed
        wants.setdefault(row.gate, {})[row.queue] = row.count
    since = {row.gate: (row.plan, row.poked_at) for row in rows if row.poked_at is not None}
    return [Gang(gate, plan, wants[gate], needs[plan], at) for gate, (plan, at) in since.items()]


def room(transaction: Transaction, queues: Collection[str]) -> Room:
    """Return what there is at queues, and who has it."""
    held: dict[UUID, dict[str, int]] = {}
    for row in transaction.connection.execute(_HELD):
        held.setdefault(row.plan, {})[row.queue] = row.count
    busy: dict[str, dict[UUID, int]] = {}
    for row in transaction.connection.execute(_BUSY, {"queues": list(queues)}):
        busy.setdefault(row.queue, {})[row.plan] = row.count
    seats = {queue: nodes.seats(transaction, queue) for queue in queues}
    slots = {queue: found.slots for queue, found in seats.items() if found.heard}
    return Room(slots, held, busy)
