"""What is known of the assets that compute plans are built of; each is asked for once."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.errors import CallError, PlanError
from orchestrator.client.steps import Steps
from orchestrator.client.task import Task, kind_word

_SLICE = 500

_GETTERS: "dict[pb.AssetKind.ValueType, Callable[[Any, str], Any]]" = {
    pb.ASSET_FUNCTION: lambda client, key: client.functions.GetFunction(pb.GetFunctionParam(key=key)),
    pb.ASSET_DATA_MANAGER: lambda client, key: client.data_managers.GetDataManager(pb.GetDataManagerParam(key=key)),
    pb.ASSET_DATA_SAMPLE: lambda client, key: client.data_samples.GetDataSample(pb.GetDataSampleParam(key=key)),
    pb.ASSET_MODEL: lambda client, key: client.models.GetModel(pb.GetModelParam(key=key)),
    pb.ASSET_COMPUTE_TASK: lambda client, key: client.tasks.GetTask(pb.GetTaskParam(key=key)),
    pb.ASSET_COMPUTE_PLAN: lambda client, key: client.plans.GetPlan(pb.GetComputePlanParam(key=key)),
}


class Catalogue:
    """The functions, and the kinds of keys, that one connection has asked for.

    Attributes:
        functions: by their keys.
    """

    def __init__(self) -> None:
        self.functions: dict[str, pb.Function] = {}
        self._kinds: dict[str, pb.AssetKind.ValueType] = {}
        self._whole: dict[tuple[pb.AssetKind.ValueType, str], str] = {}

    def named(self, key: str) -> Steps[pb.Function]:
        """Return a function; see `Client.function`."""
        key = yield from keys.find(key, pb.ASSET_FUNCTION)
        if key not in self.functions:
            self.functions[key] = yield lambda client: client.functions.GetFunction(pb.GetFunctionParam(key=key))
        return self.functions[key]

    def function(self, key: str) -> Steps[pb.Function]:
        """Return a function, to be run by a task.

        Raises:
            PlanError: there is none of that key, or several have keys that begin so.
            CallError: the orchestrator does not answer.
        """
        key = yield from self._complete(pb.ASSET_FUNCTION, key)
        if key not in self.functions:
            self.functions[key] = yield from _get(pb.ASSET_FUNCTION, key)
        return self.functions[key]

    def expect(self, kind: "pb.AssetKind.ValueType", given: Iterable[str]) -> Steps[dict[str, str]]:
        """Check that keys, or beginnings of keys, are those of assets of a kind.

        Returns:
            The whole keys, by what was given.

        Raises:
            PlanError: one is not.
            CallError: the orchestrator does not answer.
        """
        whole = {}
        for key in dict.fromkeys(given):
            whole[key] = yield from self._complete(kind, key)
        unknown = [key for key in dict.fromkeys(whole.values()) if self._kinds.get(key) != kind]
        found: set[str] = set()
        if kind == pb.ASSET_DATA_SAMPLE:
            for begin in range(0, len(unknown), _SLICE):
                answer = yield partial(_samples, keys=unknown[begin : begin + _SLICE])
                found |= {sample.key for sample in answer.data_samples}
        for key in unknown:
            if key not in found:
                yield from _get(kind, key)
            self._kinds[key] = kind
        return whole

    def complete(self, tasks: Iterable[Task]) -> Steps[None]:
        """Put whole keys in the place of their beginnings, as inputs of tasks.

        Raises:
            PlanError: no key, or more than one, begins so.
            CallError: the orchestrator does not answer.
        """
        for task in tasks:
            for given in task.message.inputs:
                # Of a plan that was loaded, nobody knows what its functions declare.
                if given.HasField("asset_key") and given.identifier in task.function.inputs:
                    kind = task.function.inputs[given.identifier].kind
                    given.asset_key = yield from self._complete(kind, given.asset_key)

    def _complete(self, kind: "pb.AssetKind.ValueType", key: str) -> Steps[str]:
        if keys.is_whole(key):
            return key
        if (kind, key) not in self._whole:
            try:
                self._whole[kind, key] = yield from keys.whole(key, kind)
            except ValueError as error:
                raise PlanError(str(error)) from None
        return self._whole[kind, key]

    def expect_of(self, tasks: Sequence[Task]) -> Steps[None]:
        """Check the keys that tasks are given as inputs, and complete them; see `expect`."""
        yield from self.complete(tasks)
        used: dict[pb.AssetKind.ValueType, list[str]] = {}
        for task in tasks:
            for given in task.message.inputs:
                if given.HasField("asset_key") and given.identifier in task.function.inputs:
                    used.setdefault(task.function.inputs[given.identifier].kind, []).append(given.asset_key)
        for kind, some in used.items():
            yield from self.expect(kind, some)


def _get(kind: "pb.AssetKind.ValueType", key: str) -> Steps[Any]:
    asset = yield from _look(kind, key)
    if asset is not None:
        return asset
    others = [other for other in _GETTERS if other != kind]
    for other in others:
        if (yield from _look(other, key)) is not None:
            raise PlanError(f"{key} is the key of a {kind_word(other)}, not of a {kind_word(kind)}")
    raise PlanError(f"there is no {kind_word(kind)} with the key {key} in this channel")


def _look(kind: "pb.AssetKind.ValueType", key: str) -> Steps[Any]:
    try:
        return (yield lambda client: _GETTERS[kind](client, key))
    except CallError as error:
        if error.oe_code != "OE0002":
            raise
        return None


def _samples(client: Any, keys: Sequence[str]) -> Any:
    wanted = pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=keys), page_size=len(keys))
    return client.data_samples.QueryDataSamples(wanted)
