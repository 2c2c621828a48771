"""The requests that the bench sends: a network of organizations, and graphs of tasks."""

import uuid
from collections.abc import Iterator, Sequence

from benchmarks.load import Life, Step
from orchestrator import protos as pb

TASKS = "/orchestrator.ComputeTaskService"
MODELS = "/orchestrator.ModelService"
WORKER = "/orchestrator.WorkerService"
CHECKSUM = "0123456789abcdef" * 4
LOCALS = 10
"""Local tasks of a round of a federated graph, before its aggregate."""


def new_key() -> str:
    """Return a fresh key of an asset."""
    return str(uuid.uuid4())


def new_plan(name: str) -> pb.NewComputePlan:
    """Return a compute plan to register."""
    return pb.NewComputePlan(key=new_key(), name=name, tag="bench")


def address(url: str = "https://store.example/asset", checksum: str = CHECKSUM) -> pb.Addressable:
    """Return where an asset lies; by default one that nobody ever fetches."""
    return pb.Addressable(checksum=checksum, storage_address=url)


def new_function(key: str, archive: pb.Addressable) -> pb.NewFunction:
    """Return a function of any number of models to one model."""
    return pb.NewFunction(
        key=key,
        name="no-op",
        description=archive,
        archive=archive,
        new_permissions=pb.NewPermissions(public=True),
        inputs={"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True, optional=True)},
        outputs={"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)},
    )


def new_task(function: str, plan: str, worker: str, parents: Sequence[str] = ()) -> pb.NewComputeTask:
    """Return a task that takes the model of each parent, and makes one."""
    references = [pb.ParentTaskOutputRef(parent_task_key=key, output_identifier="model") for key in parents]
    return pb.NewComputeTask(
        key=new_key(),
        function_key=function,
        compute_plan_key=plan,
        worker=worker,
        inputs=[pb.ComputeTaskInput(identifier="models", parent_task_output=each) for each in references],
        outputs={"model": pb.NewComputeTaskOutput(permissions=pb.NewPermissions(public=True))},
    )


def wide(count: int, function: str, plan: str, workers: Sequence[str]) -> list[pb.NewComputeTask]:
    """Return tasks without parents, dealt out to the workers in turn."""
    return [new_task(function, plan, workers[number % len(workers)]) for number in range(count)]


def federated(
    count: int, function: str, plan: str, workers: Sequence[str], locals_: int = LOCALS
) -> list[pb.NewComputeTask]:
    """Return a graph of rounds: a local task at each of the workers in turn, then an aggregate of them, and so on.

    Args:
        count: tasks in all; the last round may be cut.
        function: its key, for all of them.
        plan: its key.
        workers: who runs them; the first aggregates.
        locals_: local tasks of a round.
    """
    tasks: list[pb.NewComputeTask] = []
    aggregate: list[str] = []
    while len(tasks) < count:
        step = [new_task(function, plan, workers[number % len(workers)], aggregate) for number in range(locals_)]
        final = new_task(function, plan, workers[0], [task.key for task in step])
        aggregate = [final.key]
        tasks += [*step, final]
    return tasks[:count]


def registrations(tasks: Sequence[pb.NewComputeTask], size: int) -> Iterator[Step]:
    """Yield the calls that register tasks, so many a call."""
    for start in range(0, len(tasks), size):
        param = pb.RegisterTasksParam(tasks=tasks[start : start + size])
        yield Step(f"{TASKS}/RegisterTasks", param.SerializeToString())


def act(task: str, action: "pb.ComputeTaskAction.ValueType") -> Step:
    """Return the call by which a client without attempts moves a task."""
    param = pb.ApplyTaskActionParam(compute_task_key=task, action=action)
    return Step(f"{TASKS}/ApplyTaskAction", param.SerializeToString())


def new_model(task: str, url: str = "https://store.example/model", checksum: str = CHECKSUM) -> pb.NewModel:
    """Return the model of a task."""
    return pb.NewModel(
        key=new_key(),
        compute_task_key=task,
        compute_task_output_identifier="model",
        address=address(url, checksum),
    )


def older_life(task: str) -> Life:
    """Return the life of a task by the calls that the contract always had: EXECUTING, RegisterModels, DONE."""
    models = pb.RegisterModelsParam(models=[new_model(task)])
    return [
        act(task, pb.TASK_ACTION_EXECUTING),
        Step(f"{MODELS}/RegisterModels", models.SerializeToString()),
        act(task, pb.TASK_ACTION_DONE),
    ]


def batched_lives(tasks: Sequence[str]) -> Life:
    """Return the lives of several tasks by the calls for workers with several slots: ClaimTasks, CompleteTasks."""
    claims = [pb.ClaimTaskParam(compute_task_key=task, node="bench", claim_id=new_key()) for task in tasks]
    reports = [pb.CompleteTaskParam(models=[new_model(task)]).SerializeToString() for task in tasks]
    return [
        Step(f"{WORKER}/ClaimTasks", pb.ClaimTasksParam(claims=claims).SerializeToString()),
        Step(f"{WORKER}/CompleteTasks", b"", reports=reports),
    ]


def worker_life(task: str) -> Life:
    """Return the life of a task by the calls of our own workers: ClaimTask, CompleteTask."""
    claim = pb.ClaimTaskParam(compute_task_key=task, node="bench", claim_id=new_key())
    complete = pb.CompleteTaskParam(models=[new_model(task)])
    return [
        Step(f"{WORKER}/ClaimTask", claim.SerializeToString()),
        Step(f"{WORKER}/CompleteTask", complete.SerializeToString(), attempt=True),
    ]
