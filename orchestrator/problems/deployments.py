"""Deployments: nodes, ids, tasks and events of one are invisible in another; each belongs to one organization."""

from sqlalchemy import TextClause

from orchestrator.core.errors import PermissionDeniedError
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, ids
from orchestrator.problems.errors import NumbersUsedUpError
from orchestrator.store.statements import statement

_QUEUES = "module."


def queue(deployment: str, kind: int) -> str:
    """Return the queue that the modules of a kind read."""
    return f"{_QUEUES}{deployment}.{graph.KINDS[kind].name.lower()}"


def node(deployment: str, kind: int, name: str) -> str:
    """Return what the engine calls a module."""
    return f"{deployment}/{graph.KINDS[kind].name}/{name}"


def of_queue(queue: str) -> str | None:
    """Return the deployment whose queue it is, None where it is none's."""
    deployment, _, _ = queue.removeprefix(_QUEUES).rpartition(".")
    return deployment if queue.startswith(_QUEUES) and deployment else None


_OPEN = statement("""
    INSERT INTO deployments (name, channel, organization, created_at) VALUES (:name, :channel, :organization, :now)
    ON CONFLICT (name) DO NOTHING
""")
_OWNER = statement("SELECT channel, organization FROM deployments WHERE name = :name")


def enter(transaction: Transaction, name: str) -> None:
    """Check that a deployment is the caller's; one that nobody has named before becomes it.

    Raises:
        BadRequestError: it cannot be a name.
        PermissionDeniedError: it is another organization's, or lies in another channel.
    """
    ids.check_deployment(name)
    for _ in range(2):
        row = transaction.connection.execute(_OWNER, {"name": name}).one_or_none()
        if row is not None:
            break
        new = {
            "name": name,
            "channel": transaction.channel,
            "organization": transaction.organization,
            "now": transaction.now,
        }
        transaction.connection.execute(_OPEN, new)
    if row is None or (row.channel, row.organization) != (transaction.channel, transaction.organization):
        raise PermissionDeniedError(
            f"deployment {name} is another organization's, so {transaction.organization} may not use it; choose "
            "another name (SUSTAINML_DOMAIN_ID=N of a module is the deployment domain-N)"
        )


def reads(transaction: Transaction, queue: str) -> bool:
    """Tell whether a queue is one of a deployment of the caller."""
    name = of_queue(queue)
    if name is None:
        return False
    row = transaction.connection.execute(_OWNER, {"name": name}).one_or_none()
    return row is not None and (row.channel, row.organization) == (transaction.channel, transaction.organization)


_NEXT_PROBLEM = statement("""
    UPDATE deployments SET last_problem = last_problem + 1 WHERE name = :name AND last_problem < :most
    RETURNING last_problem
""")
_NEXT_TRANSACTION = statement("""
    UPDATE deployments SET last_transaction = last_transaction + 1 WHERE name = :name AND last_transaction < :most
    RETURNING last_transaction
""")


def next_problem(transaction: Transaction, name: str) -> int:
    """Return the number of a new problem; it is never given again, unless the transaction keeps nothing.

    Raises:
        NumbersUsedUpError: no greater number fits.
    """
    return _next(transaction, _NEXT_PROBLEM, name, "problem")


def next_transaction(transaction: Transaction, name: str) -> int:
    """Return the number of a new configuration request; see `next_problem`."""
    return _next(transaction, _NEXT_TRANSACTION, name, "configuration request")


def _next(transaction: Transaction, following: TextClause, name: str, what: str) -> int:
    number: int | None = transaction.connection.execute(
        following, {"name": name, "most": ids.GREATEST}
    ).scalar_one_or_none()
    transaction.locked()
    if number is None:
        raise NumbersUsedUpError(
            f"deployment {name}: a new {what} would be number {ids.GREATEST + 1}, which clients cannot hold; use "
            "another deployment"
        )
    return number
