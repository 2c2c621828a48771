"""A study of org-1's: a data set and a function, added by the names of the Substra SDK, and plans of it."""

import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from substra import models, schemas

from orchestrator import protos as pb
from orchestrator.client.folders import digest
from orchestrator.client.substra import Client
from tests.kit.home import Home, folders_in, function_in

MINE = schemas.Permissions(public=False, authorized_ids=[])
SHARED = schemas.Permissions(public=False, authorized_ids=["org-2"])
INPUTS = [
    schemas.FunctionInputSpec(identifier="opener", kind="ASSET_DATA_MANAGER", multiple=False, optional=False),
    schemas.FunctionInputSpec(identifier="datasamples", kind="ASSET_DATA_SAMPLE", multiple=True, optional=False),
    schemas.FunctionInputSpec(identifier="before", kind="ASSET_MODEL", multiple=False, optional=True),
]
OUTPUTS = [
    schemas.FunctionOutputSpec(identifier="model", kind="ASSET_MODEL", multiple=False),
    schemas.FunctionOutputSpec(identifier="auc", kind="ASSET_PERFORMANCE", multiple=False),
]


class Study:
    """org-1 with a data set of two samples and a function, all added by the names of the Substra SDK."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.client = Client(home.client)
        self.text = folder / "about.md"
        self.text.write_text("# About\n")
        self.opener = folder / "opener.py"
        self.opener.write_text("class Opener: ...\n")
        self.dataset = self.client.add_dataset(
            schemas.DatasetSpec(
                name="patients",
                data_opener=self.opener,
                description=self.text,
                permissions=SHARED,
                logs_permission=MINE,
                metadata={"kind": "test"},
            )
        )
        folders = folders_in(folder, b"one", b"two")
        self.samples = self.client.add_data_samples({"paths": folders, "data_manager_keys": [self.dataset]})
        self.archive = folder / "function.tar.gz"
        with tarfile.open(self.archive, "w:gz") as packed:
            for file in function_in(folder / "train").iterdir():
                packed.add(file, file.name)
        self.function = self.add_function()
        home.built(home.client.function(self.function))

    def add_function(self, **changes: Any) -> str:
        named = {"name": "train", "file": self.archive, "description": self.text, "permissions": SHARED}
        return self.client.add_function({**named, "inputs": INPUTS, "outputs": OUTPUTS, **changes})

    def task(self, number: int, parent: str | None = None) -> schemas.ComputePlanTaskSpec:
        data = [
            schemas.InputRef(identifier="opener", asset_key=self.dataset),
            *(schemas.InputRef(identifier="datasamples", asset_key=key) for key in self.samples),
        ]
        before = {"identifier": "before", "parent_task_key": parent, "parent_task_output_identifier": "model"}
        return schemas.ComputePlanTaskSpec(
            task_id=str(uuid.uuid4()),
            function_key=self.function,
            worker="org-1",
            tag="train",
            metadata={"round_idx": str(number)},
            inputs=[*data, *([schemas.InputRef(**before)] if parent else [])],
            outputs={
                "model": schemas.ComputeTaskOutputSpec(permissions=MINE, transient=False),
                "auc": schemas.ComputeTaskOutputSpec(permissions=schemas.Permissions(public=True, authorized_ids=[])),
            },
        )

    def plan(self, rounds: int, **changes: Any) -> tuple[models.ComputePlan, list[str]]:
        """Add a compute plan of tasks that follow one another, the last one first; return it, and their keys."""
        tasks: list[schemas.ComputePlanTaskSpec] = []
        for number in range(rounds):
            tasks.append(self.task(number, tasks[-1].task_id if tasks else None))
        spec = schemas.ComputePlanSpec(name="study", tag="a tag", tasks=tasks[::-1], metadata={"of": "2026"})
        return self.client.add_compute_plan(spec, **changes), [task.task_id for task in tasks]

    def fail(self, task: str, log: str) -> None:
        """Fail a task as its worker does."""
        client, root = self.home.client, self.home.store.root
        client.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=task, action=pb.TASK_ACTION_EXECUTING))
        file = root / "logs" / f"{task}-1"
        file.parent.mkdir(exist_ok=True)
        file.write_text(log)
        address = pb.Addressable(checksum=digest(file), storage_address=f"{self.home.url}/logs/{task}-1")
        report = pb.NewFailureReport(asset_key=task, error_type=pb.ERROR_TYPE_EXECUTION, logs_address=address)
        report.asset_type = pb.FAILED_ASSET_COMPUTE_TASK
        client.failure_reports.RegisterFailureReport(report)


@pytest.fixture(scope="module")
def study(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(home, tmp_path_factory.mktemp("study"))
