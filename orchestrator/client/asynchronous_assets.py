"""What a person does with functions, data and models, for programs that use asyncio."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import protos as pb
from orchestrator.client import additions, explanation, models, readiness
from orchestrator.client import scores as measured
from orchestrator.client.additions import Metadata, Place
from orchestrator.client.assets import READY_SECONDS
from orchestrator.client.explanation import Explanation
from orchestrator.client.models import Wanted
from orchestrator.client.plan import Known, of
from orchestrator.client.scores import Scores
from orchestrator.client.steps import Result, Steps
from orchestrator.client.stores import Stores
from orchestrator.client.task import Permissions, Task


class AsyncAssets:
    """The part of `AsyncClient` that is about functions, data and models."""

    organization: str
    channel: str
    _stores: Stores
    if TYPE_CHECKING:

        async def _run(self, steps: Steps[Result]) -> Result: ...

    async def register_organization(self, store_url: str) -> pb.Organization:
        """Register this organization; see `Client.register_organization`."""
        return await self._run(additions.register_organization(self.organization, self.channel, store_url))

    async def add_function(
        self,
        folder: Place,
        *,
        permissions: Permissions = (),
        name: str = "",
        metadata: Metadata = None,
        key: str | None = None,
    ) -> pb.Function:
        """Add a function; see `Client.add_function`."""
        return await self._run(
            additions.add_function(self._stores, self.organization, folder, permissions, name, metadata, key)
        )

    async def add_dataset(
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
        """Add a data set; see `Client.add_dataset`."""
        who, stores = self.organization, self._stores
        return await self._run(
            additions.add_dataset(stores, who, opener, name, permissions, logs, description, metadata, key)
        )

    async def add_samples(self, folders: Place | Iterable[Place], dataset: str | pb.DataManager) -> list[pb.DataSample]:
        """Add data samples; see `Client.add_samples`."""
        return await self._run(additions.add_samples(self._stores, self.organization, dataset, folders))

    async def wait_ready(self, *functions: str | pb.Function, timeout: float = READY_SECONDS) -> list[pb.Function]:
        """Return functions once all of them are built; see `Client.wait_ready`."""
        return await self._run(readiness.wait_ready(self._stores, functions, timeout))

    async def build_delay(self, function: str | pb.Function) -> str:
        """Return what has delayed the build of a function; see `Client.build_delay`."""
        return await self._run(readiness.delay_of(function))

    async def download(self, wanted: Wanted, path: Path | str) -> Path:
        """Write a model to a file; see `Client.download`."""
        return await self._run(models.download(self._stores, wanted, path))

    async def model(self, wanted: Wanted) -> pb.Model:
        """Return a model; see `Client.model`."""
        return await self._run(models.find(wanted))

    async def scores(self, plan: Known) -> Scores:
        """Return what the tasks of a compute plan have measured; see `Client.scores`."""
        return await self._run(of(plan, measured.scores))

    async def log(self, task: Task | pb.ComputeTask | str, attempt: int | None = None) -> str:
        """Return what a task has said so far; see `Client.log`."""
        from orchestrator.client import logs

        return await self._run(logs.read(self._stores, task, attempt))

    async def explain(self, task: Task | pb.ComputeTask | str) -> Explanation:
        """Return why a task is in its state; see `Client.explain`."""
        return await self._run(explanation.explain(task))
