"""What is wrong with a whole compute plan before it is submitted, and what its tasks would wait for now."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import consents, lookup, plans, registration, submissions, wholes
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import References
from orchestrator.compute.registration import Known
from orchestrator.compute.tasks import KIND
from orchestrator.core import permissions, pokes
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import nodes, outbox
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction

_MOST_FAULTS = 100


class _Faults:
    """Those that were found, the first hundred as messages."""

    def __init__(self) -> None:
        self.messages: list[pb.PlanFault] = []
        self.count = 0
        self.tasks: set[str] = set()

    def add(self, task: str, error: OrchestratorError) -> None:
        """Take note of one, of a task or, where that is empty, of the plan."""
        self.count += 1
        self.tasks.add(task)
        if len(self.messages) < _MOST_FAULTS:
            message = str(error).removeprefix(f"{error.code}: ")
            self.messages.append(pb.PlanFault(compute_task_key=task, code=error.code, message=message))


def check(transaction: Transaction, parts: Iterable[pb.CheckPlanParam]) -> pb.PlanCheck:
    """Tell what `submissions.submit` would find wrong with a plan, and what its tasks would wait for; change nothing.

    Raises:
        BadRequestError: the parts are no plan, or not the whole of one.
    """
    faults = _Faults()
    head, packed = wholes.read(parts, faults.add)
    new = head.plan
    answer = pb.PlanCheck(tasks=len(packed) + faults.count, now=timestamp(transaction.now))
    try:
        plans.check(new)
        if not submissions.is_there(transaction, new, packed):
            _look(transaction, answer, new, packed, faults)
    except OrchestratorError as error:
        faults.add("", error)
    answer.faults.extend(faults.messages)
    answer.fault_count = faults.count
    return answer


def _look(
    transaction: Transaction, answer: pb.PlanCheck, new: pb.NewComputePlan, packed: Packed, faults: _Faults
) -> None:
    """Apply the rules to all tasks, and fill in what those that are right would wait for."""
    references = References(packed.values())
    plan = Plan(UUID(new.key), KIND, transaction.organization, None, None)
    known = lookup.look_up(transaction, references, to_come=plan)
    pairs: Counter[tuple[str, str]] = Counter()
    ready: Counter[str] = Counter()
    for task in registration.register(
        packed,
        references.graph,
        transaction.organization,
        known,
        timestamp(transaction.now),
        faults.add,
        set(faults.tasks),
    ):
        pairs[task.worker, str(task.requires)] += 1
        ready[task.worker] += task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT
    answer.functions.extend(_functions(known, pairs))
    answer.workers.extend(_workers(transaction, pairs, ready))
    answer.consents.extend(consents.seen(transaction, pairs))


def _functions(known: Known, pairs: Counter[tuple[str, str]]) -> Iterator[pb.CheckedFunction]:
    counts: Counter[str] = Counter()
    strangers: defaultdict[str, list[str]] = defaultdict(list)
    for (worker, key), count in sorted(pairs.items()):
        counts[key] += count
        if not permissions.allows(known.functions[key].permissions.process, worker):
            strangers[key].append(worker)
    for key, function in sorted(known.functions.items(), key=lambda each: (each[1].name, each[0])):
        if counts[key]:
            yield pb.CheckedFunction(
                key=key,
                name=function.name,
                owner=function.owner,
                status=function.status,
                tasks=counts[key],
                strangers=strangers[key],
            )


def _workers(
    transaction: Transaction, pairs: Counter[tuple[str, str]], ready: Counter[str]
) -> Iterator[pb.CheckedWorker]:
    counts: Counter[str] = Counter()
    for (worker, _), count in pairs.items():
        counts[worker] += count
    rows = nodes.of_channel(transaction)
    due = outbox.due(transaction.connection, [pokes.queue(worker) for worker in counts])
    for worker, count in sorted(counts.items()):
        own = [row for row in rows if row.organization == worker and row.queue == pokes.queue(worker)]
        live = [row for row in own if transaction.now - row.heard_at < transaction.rules.silence]
        yield pb.CheckedWorker(
            organization=worker,
            tasks=count,
            ready=ready[worker],
            nodes=len(live),
            attempts=sum(row.attempts for row in live),
            slots=sum(row.slots or 0 for row in live),
            last_heartbeat=timestamp(max(row.heard_at for row in own)) if own else None,
            waiting=due.get(pokes.queue(worker), 0),
        )
