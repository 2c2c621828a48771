"""What tests do in a federation: put functions into asset stores, register them, run tasks of them."""

import contextlib
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Self

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.embedded.federation import Federation
from tests.kit.functions import DOCKERFILE, READS, WORKS, packed
from tests.kit.waiting import wait_until
from workers.store import AssetStore, url

LIVE = (pb.STATUS_DONE, pb.STATUS_FAILED, pb.STATUS_CANCELED)


class Network:
    """The organizations of a federation, registered, each with a client and an asset store."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self._connections = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for name in self.federation.organizations:
            address = self.federation.places.store_url(name)
            self.client(name).register(pb.RegisterOrganizationParam(address=address))
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def client(self, name: str, certificates_of: str | None = None) -> Client:
        """Return a connection as one organization, with the certificates of another where asked."""
        certificates = self.federation.certificates(certificates_of or name)
        client = Client(self.federation.places.address, name, self.federation.channel, certificates)
        return self._connections.enter_context(client)

    def store(self, name: str) -> AssetStore:
        return AssetStore(str(self.federation.places.store_root(name)))

    def put(self, organization: str, name: str, content: bytes) -> pb.Addressable:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            stored = self.store(organization).put(name, Path(file.name))
        base = self.federation.places.store_url(organization)
        return pb.Addressable(checksum=stored.checksum, storage_address=url(base, name))

    def function(
        self,
        source: str = WORKS,
        owner: str = "org-a",
        *,
        archive: bytes | None = None,
        checksum: str | None = None,
        users: pb.NewPermissions | None = None,
        inputs: dict[str, pb.FunctionInput] | None = None,
        outputs: dict[str, pb.FunctionOutput] | None = None,
    ) -> pb.Function:
        """Register a function, which its owner's worker then builds."""
        key = str(uuid.uuid4())
        content = archive or packed({"Dockerfile": DOCKERFILE, "function.py": READS + source})
        address = self.put(owner, f"functions/{key}/archive", content)
        if checksum:
            address.checksum = checksum
        new = pb.NewFunction(
            key=key,
            name="function",
            description=self.put(owner, f"functions/{key}/description", b"# A function"),
            archive=address,
            new_permissions=users or pb.NewPermissions(public=True),
            inputs=inputs or {},
            outputs=outputs or {"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)},
        )
        return self.client(owner).register(new)

    def built(self, function: pb.Function) -> pb.Function:
        """Return a function as it is once its building has ended."""
        client = self.client(function.owner)

        def ended() -> pb.Function | None:
            now = client.functions.GetFunction(pb.GetFunctionParam(key=function.key))
            return now if now.status in (pb.FUNCTION_STATUS_READY, pb.FUNCTION_STATUS_FAILED) else None

        return wait_until(ended, timeout=60, message=f"function {function.key} to be built")

    def task(self, function: pb.Function, owner: str = "org-a", worker: str = "org-a", **inputs: object) -> str:
        """Submit a task in a compute plan of its own; return its key."""
        plan = self.client(owner).plan("test")
        task = plan.task(function=function, worker=worker, inputs=inputs, outputs=dict.fromkeys(function.outputs, ()))
        plan.submit()
        return task.key

    def ended(self, task: str, timeout: float = 60) -> pb.ComputeTask:
        """Return a task once it has ended."""
        client = self.client("org-a")

        def found() -> pb.ComputeTask | None:
            now = client.tasks.GetTask(pb.GetTaskParam(key=task))
            return now if now.status in LIVE else None

        return wait_until(found, timeout=timeout, message=f"task {task} to end")

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one of our commands against the federation."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", *words], capture_output=True, text=True, timeout=60, check=False
        )
