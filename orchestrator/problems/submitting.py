"""New problems and iterations: ids are given in the transaction that keeps the task."""

from dataclasses import dataclass, field

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, graph, ids, inputs, iterations, secrets, stages
from orchestrator.problems.errors import NumbersUsedUpError, StateError
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

LATEST = -1
"""The `previous_iteration` that stands for the latest of a problem."""

_MOST_KEY = 200


@dataclass(frozen=True)
class NewTask:
    """A task that a client wants.

    Args:
        user_input: as the client sent it; its `previous_iteration` counts: 0 is a new problem, n > 0 that iteration of
            `previous_problem_id`, -1 the latest of it.
        given: the names of the members of `user_input` that the client sent; others are inherited from the parent.
        start: whether it runs, or is prepared only.
        priority: -100 to 100, the highest goes first.
        idempotency_key: the same key, the same task; empty without.
    """

    user_input: pb.UserInput
    given: frozenset[str] = field(default_factory=frozenset)
    start: bool = True
    priority: int = 0
    idempotency_key: str = ""


@dataclass(frozen=True)
class Submitted:
    """What became of it.

    Args:
        task_id: its id.
        state: its state.
        user_input: as it is kept, filled in from the parent.
        existed: whether the idempotency key had made it before.
    """

    task_id: pb.TaskId
    state: "pb.StageState.ValueType"
    user_input: pb.UserInput
    existed: bool = False


def submit(transaction: Transaction, deployment: str, new: NewTask) -> Submitted:
    """Keep a new problem, or an iteration where `previous_iteration` says so; see `NewTask`.

    Raises:
        BadRequestError: a value cannot be.
        NotFoundError: the parent does not exist.
        NumbersUsedUpError: no more ids can be given.
    """
    previous = new.user_input.previous_iteration
    if previous < LATEST:
        raise BadRequestError(f"previous_iteration: 0, the number of an iteration, or -1 is expected, not {previous}")
    if previous:
        problem = inputs.extra_of(new.user_input.extra_data).get("previous_problem_id")
        if isinstance(problem, bool) or not isinstance(problem, int) or not 0 < problem <= ids.GREATEST:
            raise NotFoundError(
                f"extra_data.previous_problem_id: previous_iteration {previous} is of a problem, whose number belongs "
                f"here, not {problem!r}"
            )
        parent = pb.TaskId(problem_id=problem, iteration_id=previous if previous > 0 else 0)
        return iterate(transaction, deployment, parent, new)
    deployments.enter(transaction, deployment)
    _check(new)
    if (before := _before(transaction, deployment, new)) is not None:
        return before
    kept, own = inputs.with_defaults(new.user_input)
    problem = deployments.next_problem(transaction, deployment)
    parameters = {"deployment": deployment, "problem": problem, "now": transaction.now}
    transaction.connection.execute(_INSERT_PROBLEM, parameters)
    task_id = pb.TaskId(problem_id=problem, iteration_id=1)
    return _insert(transaction, deployment, task_id, 0, kept, secrets.encrypt(own), new)


_INSERT_PROBLEM = statement("""
    INSERT INTO problems (deployment, problem, created_at, last_iteration) VALUES (:deployment, :problem, :now, 1)
""")


def iterate(transaction: Transaction, deployment: str, parent: pb.TaskId, new: NewTask) -> Submitted:
    """Keep a new iteration of a problem.

    Args:
        transaction: of the caller.
        deployment: whose.
        parent: the iteration that it is made from; of number 0 stands for the latest of the problem.
        new: what is to change, of which `previous_iteration` means nothing.

    Raises:
        BadRequestError: a value cannot be.
        NotFoundError: the parent does not exist.
        NumbersUsedUpError: no more ids can be given.
    """
    deployments.enter(transaction, deployment)
    _check(new)
    if (before := _before(transaction, deployment, new)) is not None:
        return before
    task_id = _next(transaction, deployment, parent.problem_id, parent)
    if not parent.iteration_id:
        last = _last(transaction, deployment, parent.problem_id)
        if last is None:
            raise ids.unknown(parent)
        parent = pb.TaskId(problem_id=parent.problem_id, iteration_id=last)
    row = iterations.row_of(transaction, deployment, parent)
    before_it = pb.UserInput.FromString(row.user_input)
    merged = inputs.merged(before_it, new.user_input, new.given)
    kept, own = inputs.with_defaults(merged)
    # What the parent's user has sent is known as long as that has not ended.
    inherited = {} if "extra_data" in new.given and not _placeholders(merged) else secrets.decrypt(row.secrets)
    encrypted = secrets.encrypt({**inherited, **own})
    return _insert(transaction, deployment, task_id, parent.iteration_id, kept, encrypted, new)


def _placeholders(user_input: pb.UserInput) -> bool:
    return b"***" in user_input.extra_data


def follow(transaction: Transaction, row: Row, user_input: pb.UserInput) -> pb.TaskId:
    """Keep the iteration that an output asks for, and have it run; return its id.

    Args:
        transaction: that keeps the output, and has locked the iteration.
        row: of the iteration that made it.
        user_input: of the new one.
    """
    parent = iterations.task_id_of(row)
    task_id = _next(transaction, row.deployment, row.problem, parent)
    new = NewTask(user_input, priority=row.priority)
    _insert(transaction, row.deployment, task_id, row.iteration, user_input, row.secrets, new)
    names = {**stages.of(row.deployment, parent), "next": task_id.iteration_id}
    transaction.connection.execute(_NOTE_NEXT, names)
    return task_id


_NOTE_NEXT = statement("""
    UPDATE iterations SET next_iteration = :next
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
""")
_LOCK = statement("""
    SELECT last_iteration FROM problems WHERE deployment = :deployment AND problem = :problem FOR NO KEY UPDATE
""")
_NEXT = statement("""
    UPDATE problems SET last_iteration = last_iteration + 1 WHERE deployment = :deployment AND problem = :problem
""")
_LAST = statement("SELECT max(iteration) FROM iterations WHERE deployment = :deployment AND problem = :problem")


def _next(transaction: Transaction, deployment: str, problem: int, parent: pb.TaskId) -> pb.TaskId:
    """Return the id of the next iteration of a problem, which is locked until the transaction ends."""
    if not 0 < problem <= ids.GREATEST:
        raise ids.unknown(parent)
    parameters = {"deployment": deployment, "problem": problem}
    last = transaction.connection.execute(_LOCK, parameters).scalar_one_or_none()
    if last is None:
        raise ids.unknown(parent)
    if last >= ids.GREATEST:
        raise NumbersUsedUpError(f"problem {problem}: no more iterations can be numbered; submit it as a new problem")
    transaction.connection.execute(_NEXT, parameters)
    transaction.locked()
    return pb.TaskId(problem_id=problem, iteration_id=last + 1)


def _last(transaction: Transaction, deployment: str, problem: int) -> int | None:
    found: int | None = transaction.connection.execute(
        _LAST, {"deployment": deployment, "problem": problem}
    ).scalar_one_or_none()
    return found


def start(transaction: Transaction, deployment: str, task_id: pb.TaskId, new: NewTask | None = None) -> Submitted:
    """Have a prepared task run; one that was started stays as it is.

    Args:
        transaction: of the caller.
        deployment: whose.
        task_id: which.
        new: what the client has filled in since; of it `user_input` and `given` count, and not `previous_iteration`.

    Raises:
        BadRequestError: a value cannot be.
        NotFoundError: there is none.
        StateError: it was stopped before it was started.
    """
    deployments.enter(transaction, deployment)
    row = iterations.lock(transaction, deployment, task_id)
    user_input = pb.UserInput.FromString(row.user_input)
    if row.started_at is None:
        if row.ended_at is not None:
            raise StateError(f"task {ids.shown(task_id)} was stopped before it was started; RESET_TASK has it run")
        if new is not None:
            user_input = _fill_in(transaction, row, user_input, new)
        _start(transaction, deployment, task_id, user_input, row.priority)
    return Submitted(task_id, row.state, user_input)


_FILL_IN = statement("""
    UPDATE iterations SET user_input = :user_input, secrets = :secrets
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
""")


def _fill_in(transaction: Transaction, row: Row, before: pb.UserInput, new: NewTask) -> pb.UserInput:
    """Replace what a client gives members of, in a task that is prepared; return what is kept."""
    kept, own = inputs.with_defaults(inputs.merged(before, new.user_input, new.given))
    task_id = iterations.task_id_of(row)
    kept.task_id.CopyFrom(task_id)
    kept.previous_iteration = row.parent
    known = {**secrets.decrypt(row.secrets), **own} if own or _placeholders(kept) else {}
    parameters = {"user_input": kept.SerializeToString(), "secrets": secrets.encrypt(known)}
    transaction.connection.execute(_FILL_IN, {**stages.of(row.deployment, task_id), **parameters})
    return kept


_START = statement("""
    UPDATE iterations SET started_at = :now, deadline_at = :deadline
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
""")


def _start(
    transaction: Transaction, deployment: str, task_id: pb.TaskId, user_input: pb.UserInput, priority: int
) -> None:
    deadline = iterations.deadline(transaction.now, user_input)
    parameters = {**stages.of(deployment, task_id), "now": transaction.now, "deadline": deadline}
    transaction.connection.execute(_START, parameters)
    stages.register(transaction, deployment, task_id, 1, priority, graph.KINDS)


def _check(new: NewTask) -> None:
    if not -100 <= new.priority <= 100:
        raise BadRequestError(f"priority: -100 to 100 is expected, not {new.priority}")
    if len(new.idempotency_key) > _MOST_KEY or "\0" in new.idempotency_key:
        raise BadRequestError(f"Idempotency-Key: 1 to {_MOST_KEY} characters without NUL are expected")


# Whoever comes with the same key at the same time waits here for the other.
_KEY = statement("SELECT pg_advisory_xact_lock(hashtextextended(:deployment || '/' || :key, 1))")
_BEFORE = statement("""
    SELECT problem, iteration, state, user_input FROM iterations
    WHERE deployment = :deployment AND idempotency_key = :key
""")


def _before(transaction: Transaction, deployment: str, new: NewTask) -> Submitted | None:
    if not new.idempotency_key:
        return None
    parameters = {"deployment": deployment, "key": new.idempotency_key}
    transaction.connection.execute(_KEY, parameters)
    row = transaction.connection.execute(_BEFORE, parameters).one_or_none()
    if row is None:
        return None
    return Submitted(iterations.task_id_of(row), row.state, pb.UserInput.FromString(row.user_input), existed=True)


_INSERT = statement("""
    INSERT INTO iterations (deployment, problem, iteration, parent, run, state, priority, created_at, user_input,
                            secrets, idempotency_key)
    VALUES (:deployment, :problem, :iteration, :parent, 1, 0, :priority, :now, :user_input, :secrets,
            CAST(:key AS text))
""")


def _insert(
    transaction: Transaction,
    deployment: str,
    task_id: pb.TaskId,
    parent: int,
    user_input: pb.UserInput,
    encrypted: bytes | None,
    new: NewTask,
) -> Submitted:
    kept = pb.UserInput()
    kept.CopyFrom(user_input)
    kept.task_id.CopyFrom(task_id)
    kept.previous_iteration = parent
    transaction.connection.execute(
        _INSERT,
        {
            **stages.of(deployment, task_id),
            "parent": parent,
            "priority": new.priority,
            "now": transaction.now,
            "user_input": kept.SerializeToString(),
            "secrets": encrypted,
            "key": new.idempotency_key or None,
        },
    )
    iterations.tell(transaction, deployment, task_id, 1, pb.STAGE_WAITING)
    if new.start:
        _start(transaction, deployment, task_id, kept, new.priority)
    return Submitted(task_id, pb.STAGE_WAITING, kept)
