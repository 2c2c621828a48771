"""The part of the client that lists assets; its filters are those of the Substra SDK in remote mode."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from substra import schemas

from orchestrator import protos as pb
from orchestrator.client import lists
from orchestrator.client.connection import Client as Connection
from orchestrator.client.substra import models, rows, selection
from orchestrator.client.substra.faults import translated
from orchestrator.client.substra.reading import Reading

# Filters by what tasks use: no asset but the tasks tells of it.
_BY_TASKS = ("compute_plan_key", "function_key", "dataset_key", "data_sample_key", "worker")


@translated
class Lists(Reading):
    """Lists what there is in the channel."""

    connection: Connection

    def list_organization(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the organizations of the channel."""
        answer = self.connection.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
        return [models.organization(found, self.connection.organization) for found in answer.organizations]

    def list_function(self, filters: dict[str, Any] | None = None, ascending: bool = False) -> list[Any]:
        """Return functions.

        Args:
            filters: by key, name (a part of it), owner, permissions, compute_plan_key, dataset_key, data_sample_key.
            ascending: the oldest first.
        """
        wanted = selection.check(schemas.Type.Function, filters)
        found = self._chosen(lists.functions(self.connection), wanted, lambda task: [task.function_key])
        return selection.ordered(map(models.function, found), "creation_date", ascending)

    def list_dataset(self, filters: dict[str, Any] | None = None, ascending: bool = False) -> list[Any]:
        """Return data sets; their data samples are told by `get_dataset` alone.

        Args:
            filters: by key, name (a part of it), owner, permissions, compute_plan_key, function_key, data_sample_key.
            ascending: the oldest first.
        """
        wanted = selection.check(schemas.Type.Dataset, filters)
        if samples := wanted.pop("data_sample_key", None):
            linked = {key for sample in rows.data_samples(self.connection, samples) for key in sample.data_manager_keys}
            wanted["key"] = sorted(linked.intersection(wanted.get("key", linked)))
        found = self._chosen(lists.datasets(self.connection), wanted, _assets_of)
        return selection.ordered(map(models.dataset, found), "creation_date", ascending)

    def list_data_sample(self, filters: dict[str, Any] | None = None, ascending: bool = False) -> list[Any]:
        """Return data samples.

        Args:
            filters: by key, owner, compute_plan_key, function_key, dataset_key.
            ascending: the oldest first.
        """
        wanted = selection.check(schemas.Type.DataSample, filters)
        of_datasets = wanted.pop("dataset_key", None)
        found = self._chosen(rows.data_samples(self.connection, wanted.get("key", ())), wanted, _assets_of)
        linked = [each for each in found if of_datasets is None or set(each.data_manager_keys) & set(of_datasets)]
        return selection.ordered(map(models.data_sample, linked), "creation_date", ascending)

    def list_model(self, filters: dict[str, Any] | None = None, ascending: bool = False) -> list[Any]:
        """Return models.

        Args:
            filters: by key, compute_task_key, owner, permissions.
            ascending: the oldest first.
        """
        wanted = selection.check(schemas.Type.Model, filters)
        made_by = wanted.pop("compute_task_key", None)
        if made_by is None:
            found: Iterable[pb.Model] = rows.models(self.connection)
        else:
            found = [model for task in made_by for model in self._models_of(task)]
        chosen = [model for model in found if selection.matches(model, wanted)]
        return selection.ordered(map(models.model, chosen), "creation_date", ascending)

    def list_compute_plan(
        self, filters: dict[str, Any] | None = None, order_by: str = "creation_date", ascending: bool = False
    ) -> list[Any]:
        """Return compute plans.

        Args:
            filters: by key, name (a part of it), owner, worker, status, metadata, function_key, dataset_key,
                data_sample_key.
            order_by: creation_date, start_date or end_date.
            ascending: the earliest first; those that have no such date yet count as the latest.
        """
        wanted = selection.check(schemas.Type.ComputePlan, filters, order_by)
        statuses = wanted.pop("status", None)
        chosen = self._chosen(lists.plans(self.connection), wanted, lambda task: [task.compute_plan_key])
        found = self._plans(chosen)
        return selection.ordered(
            (plan for plan in found if statuses is None or plan.status.value in statuses), order_by, ascending
        )

    def list_task(
        self, filters: dict[str, Any] | None = None, order_by: str = "creation_date", ascending: bool = False
    ) -> list[Any]:
        """Return tasks.

        Args:
            filters: by key, owner, worker, rank, status, metadata, compute_plan_key, function_key.
            order_by: creation_date, start_date or end_date.
            ascending: the earliest first; those that have no such date yet count as the latest.
        """
        wanted = selection.check(schemas.Type.Task, filters, order_by)
        found = [task for task in rows.tasks(self.connection, wanted) if selection.matches(task, wanted)]
        return selection.ordered(self._tasks(found), order_by, ascending)

    def _chosen(
        self, found: Iterator[Any], wanted: dict[str, Any], related: Callable[[pb.ComputeTask], Iterable[str]]
    ) -> list[Any]:
        """Return those that pass all filters.

        Args:
            found: of one kind.
            wanted: the filters.
            related: returns the keys of that kind that a task uses, or is of.
        """
        chosen = [asset for asset in found if selection.matches(asset, wanted)]
        for name in _BY_TASKS:
            if name in wanted:
                known = {key for task in self._using(name, wanted[name]) for key in related(task)}
                chosen = [asset for asset in chosen if asset.key in known]
        return chosen

    def _using(self, name: str, values: list[str]) -> Iterator[pb.ComputeTask]:
        """Yield the tasks that one of these filters means."""
        if name not in ("dataset_key", "data_sample_key"):
            return rows.tasks(self.connection, {name: values})
        return (task for task in rows.tasks(self.connection) if not set(values).isdisjoint(_assets_of(task)))

    def _models_of(self, task: str) -> Iterable[pb.Model]:
        asked = pb.GetComputeTaskModelsParam(compute_task_key=task)
        return self.connection.models.GetComputeTaskOutputModels(asked).models


def _assets_of(task: pb.ComputeTask) -> list[str]:
    return [given.asset_key for given in task.inputs if given.asset_key]
