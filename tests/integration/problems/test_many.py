"""Tasks in a row: nothing stops at a number of them, of ids, or of calls of one process; each callback is called once.

Hundreds by real processes are `python -m tests.faults.many_problems`.
"""

from collections import Counter

from orchestrator import protos as pb
from orchestrator.problems import graph
from tests.kit.deployment import Deployment

FIRST, TASKS = 481, 60
"""Tasks across the 500th id, and more than 50 for each process."""


def test_tasks_in_a_row_call_each_callback_once(deployment: Deployment):
    modules = deployment.modules()
    deployment.submit(start=False)
    deployment.change("UPDATE deployments SET last_problem = :last", last=FIRST - 1)
    calls: Counter[tuple[int, int, int]] = Counter()
    numbers = range(FIRST, FIRST + TASKS)
    for number in numbers:
        submitted = deployment.submit().task_id
        assert (submitted.problem_id, submitted.iteration_id) == (number, 1)
        for kind in graph.in_order():
            module = modules[kind]
            (key,) = deployment.due(kind)
            claimed = module.claim(key)
            stage = pb.StageWork()
            claimed.work.Unpack(stage)
            calls[stage.task_id.problem_id, stage.task_id.iteration_id, stage.kind] += 1
            module.complete(claimed.attempt)
        assert not any(deployment.due(kind) for kind in graph.KINDS)
    assert calls == {(number, 1, kind): 1 for number in numbers for kind in graph.KINDS}
    assert {deployment.state(pb.TaskId(problem_id=number, iteration_id=1)) for number in numbers} == {"SUCCEEDED"}
