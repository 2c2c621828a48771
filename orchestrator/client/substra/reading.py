"""The part of the client that reads single assets, and what tasks take, make and measure."""

from collections.abc import Mapping, Sequence
from typing import Any

from substra import exceptions
from substra import models as theirs

from orchestrator import protos as pb
from orchestrator.client import failures
from orchestrator.client import models as ours
from orchestrator.client.connection import Client as Connection
from orchestrator.client.lists import pages
from orchestrator.client.substra import models, rows
from orchestrator.client.substra.faults import translated
from orchestrator.client.substra.waiting import Waiting

_ROUND = "round_idx"


@translated
class Reading(Waiting):
    """Reads what the orchestrator knows."""

    connection: Connection

    def get_function(self, key: str) -> Any:
        """Return a function."""
        return models.function(self._function(key))

    def get_dataset(self, key: str) -> Any:
        """Return a data set, with the keys of its data samples."""
        found = self.connection.datasets.GetDataset(pb.GetDatasetParam(key=key))
        return models.dataset(found.data_manager, found.data_sample_keys)

    def get_data_sample(self, key: str) -> Any:
        """Return a data sample; it has no path, as nobody but its owner's tasks can read it."""
        return models.data_sample(self.connection.data_samples.GetDataSample(pb.GetDataSampleParam(key=key)))

    def get_model(self, key: str) -> Any:
        """Return a model."""
        return models.model(self.connection.models.GetModel(pb.GetModelParam(key=key)))

    def get_task(self, key: str) -> Any:
        """Return a task."""
        return self._tasks([self._task(key)])[0]

    def get_compute_plan(self, key: str) -> Any:
        """Return a compute plan, and how many of its tasks have come how far."""
        return self._plans([self.connection.plans.GetPlan(pb.GetComputePlanParam(key=key))])[0]

    def get_performances(self, key: str, *, wait_completion: bool = False) -> Any:
        """Return what a compute plan has measured; `pd.DataFrame(….model_dump())` makes a table of it.

        Args:
            key: of the plan.
            wait_completion: wait for its end first.
        """
        if wait_completion:
            self.wait_compute_plan(key)
        plan = self.get_compute_plan(key)
        tasks = {task.key: task for task in rows.tasks(self.connection, {"compute_plan_key": [key]})}
        measured = theirs.Performances()
        scores = sorted(self.connection.scores(key), key=lambda score: (tasks[score.task].rank, score.organization))
        for score in scores:
            task = tasks[score.task]
            number = task.metadata.get(_ROUND, "")
            measured.compute_plan_key.append(plan.key)
            measured.compute_plan_tag.append(plan.tag)
            measured.compute_plan_status.append(plan.status)
            measured.compute_plan_start_date.append(plan.start_date)
            measured.compute_plan_end_date.append(plan.end_date)
            measured.compute_plan_metadata.append(plan.metadata)
            measured.worker.append(task.worker)
            measured.task_key.append(task.key)
            measured.task_rank.append(task.rank)
            measured.round_idx.append(int(number) if number.isdecimal() else None)
            measured.identifier.append(score.score)
            measured.performance.append(score.value)
        return measured

    def list_task_input_assets(self, key: str) -> list[Any]:
        """Return what a task is given: data set, data samples, models; of tasks that are not Done yet, no models."""
        task = self._task(key)
        kinds = {name: given.kind for name, given in self._function(task.function_key).inputs.items()}
        found = []
        for given in task.inputs:
            for asset in self._inputs(given, kinds[given.identifier]):
                kind = pb.AssetKind.Name(kinds[given.identifier])
                found.append(theirs.InputAsset(kind=kind, identifier=given.identifier, asset=asset))
        return found

    def list_task_output_assets(self, key: str, *, wait_completion: bool = False) -> list[Any]:
        """Return what a task has made: models, and performances as numbers.

        Args:
            key: of the task.
            wait_completion: wait for its end first.
        """
        if wait_completion:
            self.wait_task(key)
        self._task(key)
        asked = pb.QueryPerformancesParam(filter=pb.PerformanceQueryFilter(compute_task_key=key))
        performances = pages(self.connection.performances.QueryPerformances, asked, "Performances")
        measured = {each.compute_task_output_identifier: each.performance_value for each in performances}
        return [
            theirs.OutputAsset(
                kind=pb.AssetKind.Name(made.asset_kind),
                identifier=made.compute_task_output_identifier,
                asset=measured[made.compute_task_output_identifier]
                if made.asset_kind == pb.ASSET_PERFORMANCE
                else self.get_model(made.asset_key),
            )
            for made in self.connection._run(ours.outputs_of(key))
        ]

    def get_task_output_asset(self, key: str, identifier: str, *, wait_completion: bool = False) -> Any:
        """Return the one model, or the performance, that a task has made as one of its outputs.

        Args:
            key: of the task.
            identifier: of the output.
            wait_completion: wait for the task's end first.
        """
        made = self.list_task_output_assets(key, wait_completion=wait_completion)
        found = [asset for asset in made if asset.identifier == identifier]
        if not found:
            raise exceptions.TaskAssetNotFoundError(compute_task_key=key, identifier=identifier)
        if len(found) > 1:
            raise exceptions.TaskAssetMultipleFoundError(compute_task_key=key, identifier=identifier)
        return found[0]

    def _inputs(self, given: pb.ComputeTaskInput, kind: "pb.AssetKind.ValueType") -> list[Any]:
        if given.WhichOneof("ref") == "parent_task_output":
            parent = given.parent_task_output
            made = self.connection._run(ours.outputs_of(parent.parent_task_key))
            named = [each for each in made if each.compute_task_output_identifier == parent.output_identifier]
            return [self.get_model(each.asset_key) for each in named]
        get = {pb.ASSET_DATA_MANAGER: self.get_dataset, pb.ASSET_DATA_SAMPLE: self.get_data_sample}
        return [get.get(kind, self.get_model)(given.asset_key)]

    def _tasks(self, found: list[pb.ComputeTask]) -> list[Any]:
        """Return tasks as models, with their functions, times and failures."""
        functions = {key: self._function(key) for key in {task.function_key for task in found}}
        spans = rows.spans(self.connection, found)
        return [
            models.task(
                task,
                functions[task.function_key],
                spans.get(task.key, models.Span()),
                failures.report_of(self.connection, task),
            )
            for task in found
        ]

    def _plans(self, found: Sequence[pb.ComputePlan]) -> list[Any]:
        """Return compute plans as models, with counts, times and failures."""
        counts = rows.counts(self.connection, [plan.key for plan in found])
        return [self._plan(plan, counts.get(plan.key, {})) for plan in found]

    def _plan(self, found: pb.ComputePlan, counts: "Mapping[pb.ComputeTaskStatus.ValueType, int]") -> Any:
        times = rows.times(self.connection, found.key)
        failed = rows.failed(self.connection, found.key) if counts.get(pb.STATUS_FAILED) else []
        spans = {task.key: times.get(task.key, models.Span()) for task in failed}
        return models.plan(found, counts, times.values(), spans)

    def _task(self, key: str) -> pb.ComputeTask:
        return self.connection.tasks.GetTask(pb.GetTaskParam(key=key))

    def _function(self, key: str) -> pb.Function:
        # Not the connection's own, which keeps what it has seen: its status changes.
        return self.connection.functions.GetFunction(pb.GetFunctionParam(key=key))
