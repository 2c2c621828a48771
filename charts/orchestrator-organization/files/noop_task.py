"""Runs a task that does nothing, in the network: registered here, poked by the broker, run by a worker, Done.

For `helm test`. It leaves a function and a compute plan of one task in the first channel, as all that is registered.
Its settings are those of the asset store, and ORCHESTRATOR_STORE_URL.
"""

import io
import os
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path

from orchestrator import protos as pb
from orchestrator.client import CallError, Client
from workers.assets.store import AssetStore, url
from workers.settings import OrganizationSettings

SECONDS = 300
DOCKERFILE = 'FROM scratch\nENTRYPOINT ["python3", "function.py"]\n'
# Line 6 of its arguments lists what it must write.
FUNCTION = """
import json, pathlib, sys
lines = pathlib.Path(sys.argv[1][1:]).read_text().splitlines()
for output in json.loads(lines[5]):
    pathlib.Path(output["value"]).write_text("nothing")
"""


def pack() -> bytes:
    """Return the function's archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in (("Dockerfile", DOCKERFILE), ("function.py", FUNCTION)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()


def put(store: AssetStore, name: str, content: bytes) -> pb.Addressable:
    """Write a file to the store, and return its address."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        stored = store.put(name, Path(file.name))
    address = url(os.environ["ORCHESTRATOR_STORE_URL"], name)
    return pb.Addressable(checksum=stored.checksum, storage_address=address)


def register(client: Client, store: AssetStore) -> pb.Function:
    """Register the organization, unless it is there, and the function."""
    try:
        # With its address, which cannot be changed later: by it the others find its asset store.
        client.register(pb.RegisterOrganizationParam(address=os.environ["ORCHESTRATOR_STORE_URL"]))
    except CallError as error:
        if error.oe_code != "OE0006":
            raise
    key = str(uuid.uuid4())
    return client.register(
        pb.NewFunction(
            key=key,
            name="helm test",
            description=put(store, f"functions/{key}/description", b"# helm test\n\nDoes nothing.\n"),
            archive=put(store, f"functions/{key}/archive", pack()),
            new_permissions=pb.NewPermissions(),
            outputs={"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)},
        )
    )


def main() -> int:
    """Return 0 when the task is Done."""
    settings = OrganizationSettings()
    with Client(settings.address, settings.organization, settings.channels[0], settings.certificates) as client:
        function = register(client, AssetStore(settings.store_root))
        plan = client.plan("helm test")
        task = plan.task(function=function, worker=settings.organization)
        plan.submit()
        print(f"task {task.key} is registered in channel {settings.channels[0]}", flush=True)
        deadline = time.monotonic() + SECONDS
        while True:
            status = client.tasks.GetTask(pb.GetTaskParam(key=task.key)).status
            name = pb.ComputeTaskStatus.Name(status)
            if status == pb.STATUS_DONE:
                print("it is Done")
                return 0
            if status in (pb.STATUS_FAILED, pb.STATUS_CANCELED) or time.monotonic() > deadline:
                print(f"it is {name}: see the worker's log, and `orchestrator task show {task.key}`", file=sys.stderr)
                return 1
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
