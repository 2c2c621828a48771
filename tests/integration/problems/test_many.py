"""Tasks in a row: nothing stops at a number of them, of ids, or of calls of one process; each callback is called once.

Hundreds by real processes are `python -m tests.faults.many_problems`.
"""

from collections import Counter
from itertools import permutations

from orchestrator import protos as pb
from orchestrator.problems import graph
from tests.kit.deployment import METADATA, Deployment

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


def test_three_tasks_end_in_whatever_order_their_first_stages_do(deployment: Deployment):
    modules = deployment.modules()
    for order in permutations(range(3)):
        tasks = [deployment.submit().task_id for _ in range(3)]
        claims = [modules[METADATA].claim(key) for key in deployment.due(METADATA)]
        open_tasks = set(order)
        for number in order:
            modules[METADATA].complete(claims[number].attempt)
            deployment.finish(modules)
            open_tasks.remove(number)
            ended = {each for each in range(3) if deployment.state(tasks[each]) == "SUCCEEDED"}
            assert ended == set(range(3)) - open_tasks
