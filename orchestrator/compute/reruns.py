"""Compute plans that are run anew: what is Done and has not changed, by its content, is reused."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import continuations, origins, reuse, wholes
from orchestrator.compute.continuations import Next
from orchestrator.compute.links import Continued
from orchestrator.compute.origins import Origin
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import References
from orchestrator.core.errors import InvalidAssetError
from orchestrator.core.fields import parse_key
from orchestrator.engine import graph
from orchestrator.engine.transaction import Transaction


def rerun(transaction: Transaction, asked: pb.RerunPlanParam) -> pb.Continuation:
    """Register a plan like one of before; what is Done there and has not changed is reused.

    Raises:
        BadRequestError: all of it is Done, and nothing has changed.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is kept.
    """
    replacements = continuations.replacements_of(asked)

    def work(origin: Origin) -> Next:
        changed = Packed()
        for task in origin.tasks.values():
            changed.add(continuations.replaced(task, replacements))
        known = origins.known(transaction, origin.tasks, changed)
        before, now = reuse.contents(origin.tasks, known), reuse.contents(changed, known)
        stands = {key for key in origin.among(pb.STATUS_DONE) if before[key] == now[key]}
        # What has not changed though another stands for it is no mistake.
        continuations.check_replacements(origin, list(origin.tasks), replacements)
        again = reuse.again(origin.needs, stands, origin.gone)
        return continuations.renewed(origin, again, asked, replacements)

    return continuations.go_on(
        transaction, asked.compute_plan_key, asked.key, pb.CONTINUATION_RERUN, continuations.digest(asked), work
    )


def submit(transaction: Transaction, parts: Iterable[pb.SubmitRerunParam]) -> pb.Continuation:
    """Register a plan as it is sent; what is Done of one of before and of the same content is reused.

    Raises:
        BadRequestError: all of it is.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is kept.
    """
    head, packed = wholes.read(parts)
    first = parse_key(head.rerun_of, "rerun_of")
    asked = hashlib.sha256(first.bytes + packed.digest(head.plan)).digest()

    def work(origin: Origin) -> Next:
        order = _order(packed)
        functions = origins.known(transaction, packed).functions
        wanted = Packed()
        for key in order:
            new = origins.wanted_by(transaction.organization, packed[key])
            origins.leave_to_data(new, functions)
            wanted.add(new)
        known = origins.known(transaction, origin.tasks, wanted)
        matches = _matches(origin, reuse.contents(origin.tasks, known), reuse.contents(wanted, known))
        needs = {key: origins.outputs_of(task.inputs) for key, task in wanted.items()}
        gone = {
            (key, output)
            for key, task in matches.items()
            for output in packed[key].outputs
            if (task, output) in origin.gone
        }
        again = reuse.again(needs, matches.keys(), gone)
        tasks = Packed()
        for key in order:
            if key in again:
                tasks.add(_given(origin, packed[key], again, matches))
        continued = [Continued(UUID(task), UUID(key), key not in again) for key, task in matches.items()]
        return Next(head.plan, tasks, continued)

    return continuations.go_on(transaction, str(first), head.plan.key, pb.CONTINUATION_RERUN, asked, work)


def _order(packed: Packed) -> list[str]:
    order = graph.sort(References(packed.values()).graph)
    if len(order) < len(packed):
        stuck = next(key for key in packed if key not in set(order))
        raise InvalidAssetError(f"task {stuck}: it is part of a cycle, or waits for one")
    return order


def _matches(origin: Origin, before: Mapping[str, bytes], now: Mapping[str, bytes]) -> dict[str, str]:
    """Return the tasks that are Done already, each with the task of the origin whose results are its own."""
    found: defaultdict[bytes, list[str]] = defaultdict(list)
    for key in origin.among(pb.STATUS_DONE):
        found[before[key]].append(key)
    # Each stands for one: two of one content may be wanted both, as where chance is part of it.
    return {key: found[content].pop(0) for key, content in now.items() if found[content]}


def _given(origin: Origin, task: pb.NewComputeTask, again: set[str], matches: Mapping[str, str]) -> pb.NewComputeTask:
    """Return a task that runs, with models by their keys in the place of outputs of what is reused."""
    inputs = []
    for given in task.inputs:
        parent = given.parent_task_output.parent_task_key
        if parent in matches and parent not in again:
            inputs += continuations.reused_input(origin, task.key, given, matches[parent])
        else:
            inputs.append(given)
    new = pb.NewComputeTask.FromString(task.SerializeToString())
    del new.inputs[:]
    new.inputs.extend(inputs)
    return new
