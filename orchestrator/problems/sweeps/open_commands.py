"""Commands that a module does not take, or does not live to apply: they have failed, and say why."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.problems import acknowledgements, modules, presence, settings, taking_back
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

NOT_PRESENT = "not present"
_STILL_RUNS = "a module has not said that it stopped; nothing that it still sends is kept"
_GONE = "it went away before it had applied it"

_FIND = statement("""
    SELECT command || '/' || number AS key, command, number, channel, organization, deployment, kind,
           module_command_targets.name, accepted_at, delivered_at
    FROM module_command_targets JOIN deployments ON deployments.name = deployment
    WHERE state = 0 AND (kind IS NULL OR accepted_at < CAST(:now AS timestamptz) - CAST(:patience AS interval))
      AND command || '/' || number <> ALL(CAST(:failed AS text[]))
    ORDER BY accepted_at, command, number LIMIT :limit
""")
_COMMAND = statement("SELECT message FROM module_commands WHERE id = :command")


def settle(database: Database, now: datetime, limit: int) -> int:
    """Settle commands that nobody will settle any more; return how many.

    Args:
        database: where they are.
        now: the time.
        limit: most targets of them.
    """
    patience = timedelta(seconds=settings.current().problems_command_patience)

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        parameters = {"now": now, "patience": patience, "limit": limit, "failed": list(failed)}
        return connection.execute(_FIND, parameters).all()

    return one_by_one(database, find, partial(_settle, now))


def _settle(now: datetime, transaction: Transaction, row: Row) -> bool:
    said = settings.current()
    which = [(row.command, row.kind, row.name)]
    if row.kind is None:
        if acknowledgements.settle_tasks(transaction, row.deployment):
            return True
        late = row.accepted_at < now - timedelta(seconds=said.problems_command_patience + 2 * said.problems_grace)
        return late and acknowledgements.settle(transaction, row.deployment, which, _STILL_RUNS) > 0
    if row.delivered_at is None:
        return acknowledgements.settle(transaction, row.deployment, which, NOT_PRESENT) > 0
    module = modules.find(transaction, row.deployment, row.kind, row.name)
    command = pb.Command.FromString(transaction.connection.execute(_COMMAND, {"command": row.command}).scalar_one())
    terminates = command.cmd_node == pb.TERMINATE_NODE
    alive = module is not None and module.phase != pb.PHASE_ENDED and module.heard_at > now - presence.silence()
    if not alive:
        return acknowledgements.settle(transaction, row.deployment, which, "" if terminates else _GONE) > 0
    drained = row.delivered_at + timedelta(seconds=said.problems_drain + 2 * said.problems_grace)
    if terminates and drained < now:
        running = taking_back.of_module(transaction, row.deployment, row.kind, row.name)
        return taking_back.take_back(transaction, running, "its module is told to end, by TERMINATE_NODE") > 0
    return False


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    open_command_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.open_commands", settings.open_command_period, settings.sweep_batch, settle)
