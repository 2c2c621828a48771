"""The part of the client that adds assets and compute plans, renames and cancels them."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from substra import exceptions, schemas

from orchestrator import protos as pb
from orchestrator.client import additions, sources
from orchestrator.client.connection import Client as Connection
from orchestrator.client.substra import specs
from orchestrator.client.substra.downloads import Downloads
from orchestrator.client.substra.faults import translated
from orchestrator.client.task import Task

DEFAULT_BATCH_SIZE = 500
"""Tasks registered with one call, as in the Substra SDK."""


@translated
class Additions(Downloads):
    """Adds what is specified by the schemas of the Substra SDK, or by dictionaries of the same form."""

    connection: Connection

    def add_data_sample(self, data: Any, local: bool = True) -> str:
        """Add a data sample; return its key.

        Args:
            data: a `DataSampleSpec` with its `path`.
            local: must be true: a folder of this computer is sent to the own asset store.
        """
        spec = specs.read(schemas.DataSampleSpec, data)
        if spec.paths:
            raise ValueError("data: invalid 'paths' field: add_data_samples adds several")
        if not spec.path:
            raise ValueError("data: missing 'path' field")
        return self._add_samples(spec, [spec.path], local)[0]

    def add_data_samples(self, data: Any, local: bool = True) -> list[str]:
        """Add data samples; return their keys, in the order of their folders.

        Args:
            data: a `DataSampleSpec` with its `paths`.
            local: as of `add_data_sample`.
        """
        spec = specs.read(schemas.DataSampleSpec, data)
        if spec.path:
            raise ValueError("data: invalid 'path' field: add_data_sample adds one")
        if not spec.paths:
            raise ValueError("data: missing 'paths' field")
        return self._add_samples(spec, spec.paths, local)

    def add_dataset(self, data: Any) -> str:
        """Add a data set; return its key.

        Args:
            data: a `DatasetSpec`.
        """
        spec = specs.read(schemas.DatasetSpec, data)
        added = self.connection.add_dataset(
            _file(spec.data_opener, "data_opener"),
            name=spec.name,
            permissions=specs.permissions(spec.permissions),
            logs=specs.permissions(spec.logs_permission),
            description=_text(spec.description, "description"),
            metadata=spec.metadata,
        )
        return added.key

    def add_function(self, data: Any) -> str:
        """Add a function; return its key. Its owner's worker builds it, and its tasks wait until it has.

        Args:
            data: a `FunctionSpec`, whose file is a tar.gz or zip archive with a Dockerfile at its top.
        """
        spec = specs.read(schemas.FunctionSpec, data)
        new = pb.NewFunction(
            key=str(uuid.uuid4()),
            name=spec.name,
            new_permissions=specs.permissions(spec.permissions),
            metadata=spec.metadata or {},
            inputs=specs.inputs(spec.inputs),
            outputs=specs.outputs(spec.outputs),
        )
        archive = sources.of_file(_file(spec.file, "file"))
        described = sources.of_text(_text(spec.description, "description"))
        steps = additions.add_archive(self.connection._stores, self.connection.organization, new, archive, described)
        return self.connection._run(steps).key

    def add_task(self, data: Any) -> str:
        """Add a task; return its key.

        Args:
            data: a `TaskSpec`; one without `compute_plan_key` gets a compute plan of its own, called by its key.
        """
        spec = specs.read(schemas.TaskSpec, data)
        plan = self.connection.plan(spec.key, key=spec.compute_plan_key)
        plan.registered = spec.compute_plan_key is not None
        self._submit(plan, [specs.task(plan.key, spec.key, spec)], 1)
        return str(spec.key)

    def add_compute_plan(self, data: Any, auto_batching: bool = True, batch_size: int = DEFAULT_BATCH_SIZE) -> Any:
        """Add a compute plan with its tasks; return it.

        Args:
            data: a `ComputePlanSpec`.
            auto_batching: whether its tasks are registered by several calls.
            batch_size: tasks of each of them.
        """
        spec = specs.read(schemas.ComputePlanSpec, data)
        specs.check_key(spec.key)
        new = specs.tasks(spec.key, spec.tasks)
        plan = self.connection.plan(spec.name, tag=spec.tag or "", metadata=spec.metadata, key=spec.key)
        self._submit(plan, new, _batch(new, auto_batching, batch_size))
        return self.get_compute_plan(plan.key)

    def add_compute_plan_tasks(
        self, key: str, tasks: Any, auto_batching: bool = True, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Any:
        """Add tasks to a compute plan; return it.

        Args:
            key: of the plan.
            tasks: an `UpdateComputePlanTasksSpec`.
            auto_batching: as of `add_compute_plan`.
            batch_size: as of `add_compute_plan`.
        """
        given = {**tasks, "key": key} if isinstance(tasks, dict) else tasks
        spec = specs.read(schemas.UpdateComputePlanTasksSpec, given)
        new = specs.tasks(key, spec.tasks)
        plan = self.connection.plan("", key=key)
        plan.registered = True
        self._submit(plan, new, _batch(new, auto_batching, batch_size))
        return self.get_compute_plan(key)

    def link_dataset_with_data_samples(self, dataset_key: str, data_sample_keys: list[str]) -> list[str]:
        """Add data samples that exist to a data set; return their keys."""
        change = pb.UpdateDataSamplesParam(keys=data_sample_keys, data_manager_keys=[dataset_key])
        self.connection.data_samples.UpdateDataSamples(change)
        return data_sample_keys

    def update_function(self, key: str, name: str) -> None:
        """Rename a function."""
        self.connection.functions.UpdateFunction(pb.UpdateFunctionParam(key=key, name=name))

    def update_dataset(self, key: str, name: str) -> None:
        """Rename a data set."""
        self.connection.data_managers.UpdateDataManager(pb.UpdateDataManagerParam(key=key, name=name))

    def update_compute_plan(self, key: str, name: str) -> None:
        """Rename a compute plan."""
        self.connection.plans.UpdatePlan(pb.UpdateComputePlanParam(key=key, name=name))

    def cancel_compute_plan(self, key: str) -> None:
        """Cancel a compute plan."""
        self.connection.cancel(key)

    def _submit(self, plan: Any, new: Sequence[pb.NewComputeTask], batch: int) -> None:
        plan.tasks += [Task(message, self.connection.function(message.function_key)) for message in new]
        self.connection.submit(plan, batch, bar=False)

    def _add_samples(self, spec: Any, paths: Sequence[Path], local: bool) -> list[str]:
        if not local:
            raise exceptions.InvalidRequest(
                "local=False: the orchestrator has no data and reads no folder of a server's; a data sample is a "
                "folder of this computer, which is sent to the own asset store, of any size",
                400,
            )
        if spec.followlinks:
            raise exceptions.InvalidRequest(
                "followlinks=True: links that leave a data sample's folder are not followed: put the files in it", 400
            )
        if not spec.data_manager_keys:
            raise exceptions.InvalidRequest("data_manager_keys: a data sample belongs to one data set or more", 400)
        first, *others = spec.data_manager_keys
        keys = [sample.key for sample in self.connection.add_samples(paths, first)]
        for key in others:
            self.link_dataset_with_data_samples(key, keys)
        return keys


def _batch(tasks: Sequence[pb.NewComputeTask], auto_batching: bool, batch_size: int) -> int:
    if not auto_batching:
        return max(1, len(tasks))
    if not batch_size:
        raise ValueError("batch_size: with auto_batching it is 1 or more")
    return batch_size


def _file(path: Path | None, field: str) -> Path:
    if path is None or not path.is_file():
        raise exceptions.LoadDataException(f"{field}: {path} is no file")
    return path


def _text(path: Path | None, field: str) -> str:
    return _file(path, field).read_text(encoding="utf-8", errors="replace")
