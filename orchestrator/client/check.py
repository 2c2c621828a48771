"""What is wrong with a compute plan before it is submitted, and what its tasks would wait for now."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from google.protobuf.json_format import MessageToDict

from orchestrator import protos as pb
from orchestrator.client.parts import parts
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps, repeat, seconds_for

_ENDED = {pb.FUNCTION_STATUS_FAILED: "could not be built", pb.FUNCTION_STATUS_CANCELED: "was cancelled"}
_SHORT = 8


class Check:
    """What was found.

    Args:
        message: as the orchestrator answers it.

    Attributes:
        message: as given.
        faults: for what the plan would be refused, or fail at once; a sentence each.
        waits: what its tasks would wait for now; a sentence each.
        queues: how many tasks wait already at each worker of it, and its slots; a sentence each.
    """

    def __init__(self, message: pb.PlanCheck) -> None:
        self.message = message
        self.faults = [*_faults(message), *_empty(message), *_ended(message), *_strangers(message)]
        self.waits = [*_unbuilt(message), *_away(message), *_consents(message)]
        self.queues = [_queue(worker) for worker in message.workers]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; what it would wait for is no fault."""
        return not self.faults

    def __str__(self) -> str:
        ready = sum(worker.ready for worker in self.message.workers)
        count = _count(self.message.tasks)
        head = f"{count}: nothing is wrong, {ready} could begin now" if self.ok else f"{count}: it would not run"
        lines = [head, *(f"fault: {fault}" for fault in self.faults), *(f"waits: {wait}" for wait in self.waits)]
        lines += [f"queue: {queue}" for queue in self.queues]
        return "\n".join(lines)

    __repr__ = __str__

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = MessageToDict(self.message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        return {
            **found,
            "ok": self.ok,
            "fault_sentences": self.faults,
            "wait_sentences": self.waits,
            "queue_sentences": self.queues,
        }


def check(plan: pb.NewComputePlan, tasks: Sequence[pb.NewComputeTask]) -> Steps[Check]:
    """Have a compute plan looked at; see `Client.check`."""
    sent = list(parts(plan, tasks, pb.CheckPlanParam))
    seconds = seconds_for(len(tasks))
    answer = yield from repeat(lambda client: client.submissions.CheckPlan(iter(sent), timeout=seconds))
    return Check(answer)


def _count(number: int) -> str:
    return f"{number} task" if number == 1 else f"{number} tasks"


def _function(function: pb.CheckedFunction) -> str:
    return f"function {printable(function.name)!r} ({function.key[:_SHORT]}) of {function.owner}"


def _faults(found: pb.PlanCheck) -> Iterator[str]:
    for fault in found.faults:
        yield f"{fault.code}: {printable(fault.message)}"
    if more := found.fault_count - len(found.faults):
        yield f"and {more} more"


def _empty(found: pb.PlanCheck) -> Iterator[str]:
    if not found.tasks and not found.faults:
        yield "it has no tasks, and would never end"


def _ended(found: pb.PlanCheck) -> Iterator[str]:
    for each in found.functions:
        if each.status in _ENDED:
            yield f"{_function(each)} {_ENDED[each.status]}: {_count(each.tasks)} would end at once"


def _strangers(found: pb.PlanCheck) -> Iterator[str]:
    for each in found.functions:
        if each.strangers:
            names = ", ".join(each.strangers)
            yield f"{_function(each)} may not be run by {names}: it must be added with permissions for {names}"


def _unbuilt(found: pb.PlanCheck) -> Iterator[str]:
    for each in found.functions:
        if each.status == pb.FUNCTION_STATUS_WAITING:
            yield f"{_function(each)} waits to be built, and {_count(each.tasks)} for it"
        elif each.status == pb.FUNCTION_STATUS_BUILDING:
            yield f"{_function(each)} is being built: {_count(each.tasks)} would wait for it"


def _away(found: pb.PlanCheck) -> Iterator[str]:
    for worker in found.workers:
        name = worker.organization
        if not worker.nodes:
            heard = "so far"
            if worker.HasField("last_heartbeat"):
                age = found.now.ToDatetime(UTC) - worker.last_heartbeat.ToDatetime(UTC)
                heard = f"for {age.total_seconds() / 60:.0f} min"
            yield f"no worker of {name} was heard {heard}: {_count(worker.tasks)} would wait for one"
        elif worker.ready and worker.slots and worker.attempts >= worker.slots:
            taken = f"{worker.attempts} of {worker.slots} slots taken"
            yield f"{name} has {taken}: {_count(worker.ready)} would wait for one"


def _queue(worker: pb.CheckedWorker) -> str:
    verb = "waits" if worker.waiting < 2 else "wait"
    waiting = f"{_count(worker.waiting) if worker.waiting else 'no task'} {verb}"
    before = f"{waiting} before this plan's {worker.tasks}"
    slots = f"{worker.attempts} of {worker.slots} slots taken" if worker.slots else "nobody says how many slots it has"
    return f"{worker.organization}: {before}, {slots}"


def _consents(found: pb.PlanCheck) -> Iterator[str]:
    functions = {each.key: each for each in found.functions}
    for seen in sorted(found.consents, key=lambda seen: (seen.organization, functions[seen.function_key].name)):
        function = _function(functions[seen.function_key])
        if seen.consent == pb.CONSENT_DECLINED:
            yield f"{seen.organization} declines {function}: {printable(seen.reason)}"
        elif seen.consent == pb.CONSENT_UNKNOWN and seen.organization != functions[seen.function_key].owner:
            yield f"{seen.organization} has not run {function} yet: its consent policy may have to be asked"
