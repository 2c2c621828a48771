"""Configuration requests: a question or an order to a kind as a text, answered by one of its modules, or by each."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, graph, iterations, modules, presence, secrets, told
from orchestrator.problems.errors import NoModuleError
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

LONGEST_WAIT = 600.0
"""Seconds after which no answer counts, whatever a client asks for."""

LARGEST = 1024 * 1024
"""Most bytes of a question; an answer may have sixteen times as many."""

_INSERT = statement("""
    INSERT INTO configuration_requests (deployment, transaction_id, kind, replica, configuration, asked_at, deadline_at,
                                        first_id)
    VALUES (:deployment, :transaction_id, :kind, CAST(:replica AS text), :configuration, :now, :deadline, :first)
""")


def ask(
    transaction: Transaction, deployment: str, kind: int, text: str, timeout: float = 60.0, *, all: bool = False
) -> int:
    """Ask modules of a kind; return the id of the request.

    Args:
        transaction: of the caller.
        deployment: whose.
        kind: of the modules.
        text: the question.
        timeout: seconds after which an answer does not count any more.
        all: whether each module that is there answers, or any one.

    Raises:
        BadRequestError: there is no such kind, or a value cannot be.
        NoModuleError: no module of the kind is there.
    """
    deployments.enter(transaction, deployment)
    _check(kind, text, timeout)
    living = [
        row
        for row in modules.of_deployment(transaction, deployment)
        if row.kind == kind and row.lives and row.phase == pb.PHASE_SPINNING
    ]
    if not living:
        raise NoModuleError(f"no {graph.KINDS[kind].name} node is present, so nobody can answer; start one")
    first = 0
    for replica in [row.name for row in living] if all else [None]:
        number = deployments.next_transaction(transaction, deployment)
        first = first or number
        parameters = {
            "deployment": deployment,
            "transaction_id": number,
            "first": first,
            "kind": kind,
            "replica": replica,
            "configuration": text.encode(errors="surrogatepass"),
            "now": transaction.now,
            "deadline": transaction.now + timedelta(seconds=timeout),
        }
        transaction.connection.execute(_INSERT, parameters)
    # Whoever reads the queue asks at once what it is to answer.
    transaction.pokes.beat(deployments.queue(deployment, kind))
    return first


def _check(kind: int, text: str, timeout: float) -> None:
    if kind not in graph.KINDS:
        raise BadRequestError(f"node_id: {kind} is no kind of module; 0 to {max(graph.KINDS)} are")
    if len(text.encode(errors="surrogatepass")) > LARGEST:
        raise BadRequestError(f"configuration: at most {LARGEST} bytes are allowed")
    if not 0 < timeout <= LONGEST_WAIT:
        raise BadRequestError(f"timeout: more than 0 and at most {LONGEST_WAIT:g} seconds are expected, not {timeout}")


# One at a time for each module; what it has got comes again until it has answered.
_DELIVER = statement("""
    WITH due AS (
             SELECT transaction_id FROM configuration_requests
             WHERE deployment = :deployment AND kind = :kind AND answered_at IS NULL AND deadline_at > :now
               AND coalesce(replica, :name) = :name AND coalesce(taken_by, :name) = :name
             ORDER BY taken_by IS NULL, transaction_id LIMIT 1 FOR UPDATE SKIP LOCKED
         )
    UPDATE configuration_requests SET taken_by = :name FROM due
    WHERE configuration_requests.deployment = :deployment
      AND configuration_requests.transaction_id = due.transaction_id
    RETURNING due.transaction_id, kind, configuration
""")


def deliver(transaction: Transaction, deployment: str, kind: int, name: str) -> Sequence[pb.ConfigurationRequest]:
    """Return what a module is to answer next."""
    parameters = {"deployment": deployment, "kind": kind, "name": name, "now": transaction.now}
    return [
        pb.ConfigurationRequest(
            node_id=row.kind, transaction_id=row.transaction_id, configuration=_text(row.configuration)
        )
        for row in transaction.connection.execute(_DELIVER, parameters)
    ]


def _text(kept: bytes) -> str:
    return kept.decode(errors="replace")


_ANSWER = statement("""
    UPDATE configuration_requests SET answered_at = :now, answer = :answer
    WHERE deployment = :deployment AND transaction_id = :transaction_id AND kind = :kind AND taken_by = :name
      AND answered_at IS NULL AND deadline_at > :now
    RETURNING first_id
""")


def take(
    transaction: Transaction, deployment: str, kind: int, name: str, answers: Sequence[pb.ConfigurationAnswer]
) -> None:
    """Keep what a module has answered; what comes too late, or was not asked, is dropped."""
    known = iterations.open_secrets(transaction, deployment) if answers else []
    for answer in answers:
        text = answer.configuration[: 16 * LARGEST]
        for own in known:
            text = secrets.hide_in(text, own)
        kept = pb.ConfigurationAnswer(
            node_id=kind,
            transaction_id=answer.transaction_id,
            success=answer.success,
            err_code=answer.err_code,
            configuration=secrets.hide_in(text),
            replica=name,
        )
        parameters = {
            "deployment": deployment,
            "transaction_id": answer.transaction_id,
            "kind": kind,
            "name": name,
            "now": transaction.now,
            "answer": kept.SerializeToString(),
        }
        row = transaction.connection.execute(_ANSWER, parameters).one_or_none()
        if row is not None:
            _tell(transaction, deployment, row.first_id)


def _tell(transaction: Transaction, deployment: str, first: int) -> None:
    event = pb.ConfigurationEvent(deployment=deployment, transaction_id=first, answered=True)
    told.tell(transaction, f"{deployment}/{first}", event)


_GIVE_BACK = statement("""
    UPDATE configuration_requests SET taken_by = NULL
    WHERE deployment = :deployment AND kind = :kind AND taken_by = :name AND answered_at IS NULL
    RETURNING transaction_id
""")

# A request to one that has gone is for nobody else.
_IN_VAIN = statement("""
    SELECT transaction_id, first_id FROM configuration_requests
    WHERE deployment = :deployment AND kind = :kind AND answered_at IS NULL AND deadline_at > :now
      AND (:nobody OR replica = :name)
    ORDER BY transaction_id FOR UPDATE
""")
_CLOSE = statement("""
    UPDATE configuration_requests SET answered_at = :now, answer = :answer
    WHERE deployment = :deployment AND transaction_id = :transaction_id
""")


def give_back(transaction: Transaction, deployment: str, kind: int, name: str) -> None:
    """Have others answer what a module was to answer that has gone; where there is nobody, that is the answer."""
    parameters = {"deployment": deployment, "kind": kind, "name": name}
    if transaction.connection.execute(_GIVE_BACK, parameters):
        transaction.pokes.beat(deployments.queue(deployment, kind))
    nobody = not presence.of_kinds(transaction, deployment)[kind].living
    words = f"module {graph.KINDS[kind].name}/{name} has gone" + (", and no other is present" if nobody else "")
    open_ = {**parameters, "nobody": nobody, "now": transaction.now}
    for row in transaction.connection.execute(_IN_VAIN, open_).all():
        kept = pb.ConfigurationAnswer(
            node_id=kind,
            transaction_id=row.transaction_id,
            err_code=1,
            configuration=json.dumps({"error": f"{words}; ask again when one is there"}),
        )
        answered = {"deployment": deployment, "transaction_id": row.transaction_id, "now": transaction.now}
        transaction.connection.execute(_CLOSE, {**answered, "answer": kept.SerializeToString()})
        _tell(transaction, deployment, row.first_id)


_OF = statement("""
    SELECT transaction_id, replica, answer, deadline_at FROM configuration_requests
    WHERE deployment = :deployment AND first_id = :first ORDER BY transaction_id
""")


def _rows(transaction: Transaction, deployment: str, first: int) -> Sequence[Row]:
    deployments.enter(transaction, deployment)
    rows = transaction.connection.execute(_OF, {"deployment": deployment, "first": first}).all()
    if not rows:
        raise NotFoundError(f"configuration request {first} was not asked, or is forgotten")
    return rows


def answer_of(transaction: Transaction, deployment: str, transaction_id: int) -> pb.ConfigurationAnswer | None:
    """Return the answer to a request, None where there is none yet.

    Raises:
        NotFoundError: it was not asked, or is forgotten.
    """
    found, _ = answers(transaction, deployment, transaction_id)
    return found[0] if found else None


def answers(
    transaction: Transaction, deployment: str, transaction_id: int
) -> tuple[Sequence[pb.ConfigurationAnswer], bool]:
    """Return the answers to a request so far, and whether no more will come; see `answer_of`."""
    rows = _rows(transaction, deployment, transaction_id)
    found = [pb.ConfigurationAnswer.FromString(row.answer) for row in rows if row.answer is not None]
    return found, all(row.answer is not None or _over(row.deadline_at, transaction.now) for row in rows)


def _over(deadline: datetime, now: datetime) -> bool:
    return deadline <= now
