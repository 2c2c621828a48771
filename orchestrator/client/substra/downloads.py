"""The part of the client that fetches files from the asset stores of their owners, each checked by its SHA-256."""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from substra import exceptions

from orchestrator import protos as pb
from orchestrator.client import failures, places
from orchestrator.client.connection import Client as Connection
from orchestrator.client.steps import Steps, Work
from orchestrator.client.stores import Stores
from orchestrator.client.substra.faults import translated
from orchestrator.client.substra.lists import Lists

Folder = str | os.PathLike[str]


@translated
class Downloads(Lists):
    """Downloads what may be read."""

    connection: Connection

    def download_function(self, key: str, destination_folder: Folder) -> Path:
        """Write the archive of a function into a folder, as function.tar.gz; return the file."""
        found = self._function(key)
        target = Path(destination_folder) / "function.tar.gz"
        return self._fetch(found.owner, found.archive, f"functions/{found.key}/archive", target)

    def download_dataset(self, key: str, destination_folder: Folder) -> Path:
        """Write the opener of a data set into a folder, as opener.py; return the file."""
        found = self._data_manager(key)
        target = Path(destination_folder) / "opener.py"
        return self._fetch(found.owner, found.opener, f"data_managers/{found.key}/opener", target)

    def download_model(self, key: str, destination_folder: Folder) -> Path:
        """Write a model into a folder, as model_ and its key; return the file."""
        return self.connection.download(key, Path(destination_folder) / f"model_{key}")

    def download_model_from_task(self, task_key: str, identifier: str, folder: Folder) -> Path:
        """Write the model that a task has made as one of its outputs into a folder; return the file."""
        return self.download_model(self.get_task_output_asset(task_key, identifier).asset.key, folder)

    def download_logs(self, task_key: str, folder: Folder) -> str:
        """Write the log of a task into a folder, as task_logs_ and its key, .txt; return the file."""
        return str(self._log(task_key, Path(folder) / f"task_logs_{task_key}.txt"))

    def get_logs(self, task_key: str) -> str:
        """Return the log of a task: why it failed, or what it said, so far or until it was Done."""
        with tempfile.TemporaryDirectory() as scratch:
            return self._log(task_key, Path(scratch) / "log").read_text(errors="replace")

    def describe_function(self, key: str) -> str:
        """Return the description of a function."""
        found = self._function(key)
        return self._text(found.owner, found.description, f"functions/{found.key}/description")

    def describe_dataset(self, key: str) -> str:
        """Return the description of a data set."""
        found = self._data_manager(key)
        return self._text(found.owner, found.description, f"data_managers/{found.key}/description")

    def _log(self, key: str, target: Path) -> Path:
        task = self._task(key)
        report = failures.report_of(self.connection, task)
        if report is None or not report.HasField("logs_address"):
            return self._said(task, target)
        # One for each attempt, under a name that bears its number.
        name = f"logs/{report.logs_address.storage_address.rpartition('/')[2]}"
        return self._fetch(report.owner, report.logs_address, name, target)

    def _said(self, task: pb.ComputeTask, target: Path) -> Path:
        from orchestrator.client.logs import SilentError

        try:
            target.write_text(self.connection.log(task), encoding="utf-8")
        except SilentError as error:
            raise exceptions.NotFound(f"task {task.key} has no log: {error}", 404) from error
        return target

    def _text(self, owner: str, address: pb.Addressable, name: str) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            return self._fetch(owner, address, name, Path(scratch) / "text").read_text(errors="replace")

    def _fetch(self, owner: str, address: pb.Addressable, name: str, target: Path) -> Path:
        self.connection._run(_fetched(self.connection._stores, owner, address, name, target))
        return target

    def _data_manager(self, key: str) -> Any:
        return self.connection.data_managers.GetDataManager(pb.GetDataManagerParam(key=key))


def _fetched(stores: Stores, owner: str, address: pb.Addressable, name: str, target: Path) -> Steps[None]:
    yield from places.check(owner, address, name, name)
    yield Work(partial(stores.get, address, name, target))
