"""Downloads what tasks have made, from the asset store of the organization that has it."""

import errno
from functools import partial
from pathlib import Path
from typing import TypeAlias

from orchestrator import protos as pb
from orchestrator.client import keys, places
from orchestrator.client.errors import CallError, StoreError
from orchestrator.client.steps import Steps, Work
from orchestrator.client.stores import Stores
from orchestrator.client.task import Output, Task
from orchestrator.core.states import TASK_WORDS

Wanted: TypeAlias = Output | Task | pb.ComputeTask | pb.Model | str
"""A model, or what a task has made; or the key of either."""

_PAGE = 1000


def download(stores: Stores, wanted: Wanted, path: Path | str) -> Steps[Path]:
    """Write a model to a file; see `Client.download`."""
    model = yield from find(wanted)
    what = f"the model {model.key}"
    if not model.HasField("address"):
        raise StoreError(f"{what} was deleted, as its output was transient and no task needs it any more")
    yield from places.check(model.owner, model.address, f"models/{model.key}", what)
    target = Path(path)
    if target.is_dir():
        target /= model.key
    # The file takes the place of what was there: of a link that is the file that it leads to.
    place = target.resolve()
    if place.exists() and not place.is_file():
        raise FileExistsError(errno.EEXIST, "it is no file, and a model would take its place", str(path))
    yield Work(partial(stores.get, model.address, what, place))
    return target


def outputs_of(task: str) -> Steps[list[pb.ComputeTaskOutputAsset]]:
    """Return what a task has made, in that order; no call but the events tells."""
    found: list[pb.ComputeTaskOutputAsset] = []
    request = pb.QueryEventsParam(
        page_size=_PAGE,
        filter=pb.EventQueryFilter(asset_key=task, asset_kind=pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET),
    )
    while True:
        answer = yield lambda client: client.events.QueryEvents(request)
        found += [event.compute_task_output_asset for event in answer.events]
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def find(wanted: Wanted) -> Steps[pb.Model]:
    """Return a model; see `Client.model`."""
    if isinstance(wanted, pb.Model):
        return wanted
    if isinstance(wanted, Task):
        wanted = wanted.model
    if isinstance(wanted, pb.ComputeTask):
        wanted = yield from _only(wanted)
    if isinstance(wanted, Output):
        return (yield from _model((yield from _made(wanted))))
    key = yield from keys.whole(keys.key_of(wanted, "a model"), pb.ASSET_MODEL, pb.ASSET_COMPUTE_TASK)
    try:
        return (yield from _model(key))
    except CallError as error:
        if error.oe_code != "OE0002":
            raise
        task = yield from _task(key)
        if task is None:
            raise
    return (yield from find(task))


def _only(task: pb.ComputeTask) -> Steps[Output]:
    function = yield lambda client: client.functions.GetFunction(pb.GetFunctionParam(key=task.function_key))
    declared = {name: output for name, output in function.outputs.items() if output.kind == pb.ASSET_MODEL}
    if len(declared) != 1:
        named = f"{len(declared)} models: {', '.join(sorted(declared))}" if declared else "no model"
        raise StoreError(f"task {task.key} makes {named}; one is wanted, or its key")
    ((name, output),) = declared.items()
    return Output(task.key, name, output)


def _model(key: str) -> Steps[pb.Model]:
    model: pb.Model = yield lambda client: client.models.GetModel(pb.GetModelParam(key=key))
    return model


def _task(key: str) -> Steps[pb.ComputeTask | None]:
    try:
        task: pb.ComputeTask = yield lambda client: client.tasks.GetTask(pb.GetTaskParam(key=key))
    except CallError as error:
        if error.oe_code != "OE0002":
            raise
        return None
    return task


def _made(output: Output) -> Steps[str]:
    outputs = yield from outputs_of(output.task)
    made = [each.asset_key for each in outputs if each.compute_task_output_identifier == output.identifier]
    if len(made) == 1:
        return made[0]
    if made:
        raise StoreError(
            f"task {output.task} has made {len(made)} models as {output.identifier!r}: name one of {', '.join(made)}"
        )
    task = yield lambda client: client.tasks.GetTask(pb.GetTaskParam(key=output.task))
    raise StoreError(
        f"task {output.task} has made nothing as {output.identifier!r} that could be downloaded: "
        f"it is {TASK_WORDS[task.status]}"
    )
