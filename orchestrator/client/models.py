"""Downloads what tasks have made, from the asset store of the organization that has it."""

from functools import partial
from pathlib import Path
from typing import TypeAlias

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.errors import StoreError
from orchestrator.client.printing import printable
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
    yield from _check_address(model, what)
    target = Path(path)
    if target.is_dir():
        target /= model.key
    yield Work(partial(stores.get, model.address, what, target))
    return target


def _outputs_of(task: str) -> Steps[dict[str, list[str]]]:
    """Return the keys of what a task has made, by the identifiers of its outputs; no call but the events tells."""
    found: dict[str, list[str]] = {}
    request = pb.QueryEventsParam(
        page_size=_PAGE,
        filter=pb.EventQueryFilter(asset_key=task, asset_kind=pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET),
    )
    while True:
        answer = yield lambda client: client.events.QueryEvents(request)
        for event in answer.events:
            made = event.compute_task_output_asset
            found.setdefault(made.compute_task_output_identifier, []).append(made.asset_key)
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
    made = (yield from _outputs_of(output.task)).get(output.identifier, [])
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


def _check_address(model: pb.Model, what: str) -> Steps[None]:
    """Refuse what lies elsewhere than in its owner's store: nobody leads our certificate to another's."""
    answer = yield lambda client: client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    stores = {known.id: known.address for known in answer.organizations}
    base = stores.get(model.owner, "")
    if model.address.storage_address != f"{base.rstrip('/')}/models/{model.key}":
        raise StoreError(
            f"{what} is registered at {printable(model.address.storage_address)!r}, not in its place in the asset "
            f"store of {model.owner}, {printable(base) or 'whose address nobody says'}: it is not fetched from there"
        )
