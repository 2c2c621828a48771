"""Downloads what tasks have made, from the asset store of the organization that has it."""

import errno
from functools import partial
from pathlib import Path
from typing import TypeAlias

from orchestrator import protos as pb
from orchestrator.client import keys, places
from orchestrator.client.errors import StoreError
from orchestrator.client.steps import Steps, Work
from orchestrator.client.stores import Stores
from orchestrator.client.task import Output, Task
from orchestrator.core.states import TASK_WORDS

Wanted: TypeAlias = Output | Task | pb.Model | str
"""A model, its key, or what a task has made."""

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
    key = (yield from _made(wanted)) if isinstance(wanted, Output) else keys.key_of(wanted, "a model")
    model: pb.Model = yield lambda client: client.models.GetModel(pb.GetModelParam(key=key))
    return model


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
