"""What a person does with assets, beside compute plans: add them, wait for them, read what was made of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import protos as pb
from orchestrator.client import additions, explanation, models, readiness
from orchestrator.client import scores as measured
from orchestrator.client.additions import Metadata, Place
from orchestrator.client.explanation import Explanation
from orchestrator.client.models import Wanted
from orchestrator.client.plan import Known, of
from orchestrator.client.scores import Scores
from orchestrator.client.steps import Result, Steps
from orchestrator.client.stores import Stores
from orchestrator.client.task import Permissions, Task

if TYPE_CHECKING:
    from collections.abc import Callable

READY_SECONDS = 600.0
"""How long functions may take to be built, where nothing else is said."""


class Assets:
    """The part of `Client` that is about assets; files travel between here and the asset stores alone.

    Both ways need `Certificates` with `peers`, and organizations that are registered with the address of their store.
    """

    organization: str
    channel: str
    _stores: Stores
    if TYPE_CHECKING:
        _run: Callable[[Steps[Any]], Any]

    def register_organization(self, store_url: str) -> pb.Organization:
        """Register this organization in the channel, unless it is already.

        Args:
            store_url: the public https URL of its asset store, from where alone the others fetch; it cannot be changed.

        Raises:
            StoreError: it is registered with another address.
            CallError: it is refused, or the orchestrator does not answer.
        """
        return self._do(additions.register_organization(self.organization, self.channel, store_url))

    def add_function(
        self,
        folder: Place,
        *,
        permissions: Permissions = (),
        name: str = "",
        metadata: Metadata = None,
        key: str | None = None,
    ) -> pb.Function:
        """Add a function: put its folder into the own asset store, and register it; its worker then builds it.

        Args:
            folder: with a Dockerfile, the program, and `function.yaml`, which declares inputs and outputs.
            permissions: who may run it besides this organization.
            name: for people, instead of what `function.yaml` says.
            metadata: anything, for people, beside what `function.yaml` says.
            key: a UUID; a random one by default. With one of its own the same may be added again, and is there once.

        Raises:
            ValueError: the key is no UUID.
            DocumentError: `function.yaml` is missing or wrong; one line with file, line and what is expected.
            FolderError: the folder has a link that leaves it, or something else that no archive may have.
            StoreError: the asset store refuses, or is not there.
            CallError: the orchestrator refuses, or does not answer.
            OSError: a file cannot be read.
        """
        return self._do(
            additions.add_function(self._stores, self.organization, folder, permissions, name, metadata, key)
        )

    def add_dataset(
        self,
        opener: Place,
        *,
        name: str,
        permissions: Permissions = (),
        logs: Permissions = (),
        description: str = "",
        metadata: Metadata = None,
        key: str | None = None,
    ) -> pb.DataManager:
        """Add a data set, still without data samples: put its opener into the own asset store, and register it.

        Args:
            opener: the Python file that reads its data samples, or a folder with it as `__init__.py`.
            name: for people.
            permissions: whose tasks may use it besides this organization's; the data stay here all the same.
            logs: who may read the logs of tasks on it besides this organization.
            description: for people, Markdown.
            metadata: anything, for people.
            key: as of `add_function`.

        Raises:
            ValueError: the key is no UUID.
            StoreError: the asset store refuses, or is not there.
            CallError: the orchestrator refuses, or does not answer.
            FolderError: there is no such file.
            OSError: the file cannot be read.
        """
        who, stores = self.organization, self._stores
        return self._do(additions.add_dataset(stores, who, opener, name, permissions, logs, description, metadata, key))

    def add_samples(self, folders: Place | Iterable[Place], dataset: str | pb.DataManager) -> list[pb.DataSample]:
        """Add data samples to a data set: copy them into the own asset store, and register that they exist.

        Nobody else reads them there. A folder whose content the data set has already is not added again: so what was
        cut off may be repeated, and several may add the same at once.

        Args:
            folders: one each; a single one may be given as it is.
            dataset: of this organization; itself or its key.

        Returns:
            The data samples, in the order of their folders.

        Raises:
            ValueError: the data set is none, and no key of one.
            FolderError: a folder is empty, or has a link that leaves it.
            StoreError: the asset store refuses, or is not there; what came before is registered.
            CallError: the orchestrator refuses, or does not answer.
            OSError: a file cannot be read.
        """
        return self._do(additions.add_samples(self._stores, self.organization, dataset, folders))

    def wait_ready(self, *functions: str | pb.Function, timeout: float = READY_SECONDS) -> list[pb.Function]:
        """Return functions once all of them are built.

        Args:
            functions: themselves or their keys.
            timeout: seconds.

        Raises:
            ValueError: one is none, and no key of one.
            BuildError: one could not be built; with the end of its log, where that may be read.
            TimeoutError: one is not ready yet.
            CallError: there is none, or the orchestrator does not answer.
        """
        return self._do(readiness.wait_ready(self._stores, functions, timeout))

    def build_delay(self, function: str | pb.Function) -> str:
        """Return what has delayed the build of a function that is not built yet; empty where nothing has.

        Raises:
            ValueError: it is none, and no key of one.
            CallError: there is none, or the orchestrator does not answer.
        """
        return self._do(readiness.delay_of(function))

    def download(self, wanted: Wanted, path: Path | str) -> Path:
        """Write a model to a file, and check that it is the registered one; return the file.

        Args:
            wanted: `task.outputs["model"]`, a task that makes one model, a model, or the key of either.
            path: the file, or a folder in which it is called by its key.

        Raises:
            ValueError: what is wanted is none of these.
            StoreError: it is not there yet or not any more, may not be read, or is not the registered one.
            CallError: there is none, or the orchestrator does not answer.
            OSError: the file cannot be written.
        """
        return self._do(models.download(self._stores, wanted, path))

    def model(self, wanted: Wanted) -> pb.Model:
        """Return a model, given by its key, or by the task that made it, its key, or the output that it is.

        Raises:
            ValueError: what is wanted is none of these.
            StoreError: it is not there yet, or the output has several.
            CallError: there is none, or the orchestrator does not answer.
        """
        return self._do(models.find(wanted))

    def scores(self, plan: Known) -> Scores:
        """Return what the tasks of a compute plan, given itself or its key, have measured so far.

        Raises:
            ValueError: the key is no UUID.
            CallError: there is no such plan, or the orchestrator does not answer.
        """
        return self._do(of(plan, measured.scores))

    def log(self, task: Task | pb.ComputeTask | str, attempt: int | None = None) -> str:
        """Return what a task, given itself or its key, has said so far, or why it failed.

        Args:
            task: which.
            attempt: at it; the last when not given.

        Raises:
            ValueError: it is none, and no key of one.
            StoreError: it may not be read, or there is nothing: it said nothing, or is not kept any more.
            CallError: there is no such task, or the orchestrator does not answer.
        """
        from orchestrator.client import logs

        return self._do(logs.read(self._stores, task, attempt))

    def explain(self, task: Task | pb.ComputeTask | str) -> Explanation:
        """Return why a task, given itself or its key, is in its state: what it waits for, or what ended it.

        Raises:
            ValueError: it is none, and no key of one.
            CallError: there is no such task, or the orchestrator does not answer.
        """
        return self._do(explanation.explain(task))

    def _do(self, steps: Steps[Result]) -> Result:
        result: Result = self._run(steps)
        return result
