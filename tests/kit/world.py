"""One organization with its store and its functions, for tests of its worker."""

import functools
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from orchestrator import protos as pb
from orchestrator.core import crash
from tests.kit.functions import DOCKERFILE, READS, packed
from tests.kit.pool import Forked, Pool
from tests.kit.recorded import Recorded
from workers.channels import connect
from workers.consent.declines import Asking
from workers.consent.policy import Consent
from workers.functions import building
from workers.node import agent as node_agent
from workers.node.agent import Command
from workers.run import attempt
from workers.run.slot import Slot
from workers.settings import WorkerSettings

STORE_URL = "https://store.example.org"
TRAINS = """
total = float(inputs["start"].read_text()) + float((inputs["datasamples"] / "x").read_text())
assert inputs["opener"].name == "__init__.py"
outputs["model"].write_text(str(total))
outputs["score"].write_text('{"all": 0.25}')
"""


class World:
    """One organization with its store, and the orchestrator that it talks to.

    Args:
        root: an empty folder.
        recorded: the orchestrator.
        address: where it listens.
        pool: what `process` forks from.
    """

    def __init__(self, root: Path, recorded: Recorded, address: str, pool: Pool | None = None) -> None:
        self.root = root
        self._pool = pool
        self.recorded = recorded
        self.store = root / "store"
        # What functions see of this machine besides their own.
        self.seen = root / "seen"
        self.seen.mkdir()
        self.settings = WorkerSettings(
            organization="org-1",
            channels=("other", "known"),
            address=address,
            broker_url="redis://127.0.0.1:9",
            store_root=str(self.store),
            store_url=STORE_URL,
            work_dir=root / "work",
            node="node-1",
            task_time_limit=20.0,
            task_kill_grace=0.5,
            sandbox_paths=(f"{self.seen}:rw",),
        )
        self.task = str(uuid.uuid4())
        self.claimed: list[str] = []

    def put(self, name: str, content: bytes) -> pb.Addressable:
        target = self.store / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return pb.Addressable(checksum=hashlib.sha256(content).hexdigest(), storage_address=f"{STORE_URL}/{name}")

    def function(
        self, source: str, dockerfile: str = DOCKERFILE, files: Mapping[str, str | bytes] | None = None
    ) -> pb.Function:
        key = str(uuid.uuid4())
        archive = packed({"Dockerfile": dockerfile, "function.py": READS + source, **(files or {})})
        function = pb.Function(
            key=key,
            name="function",
            owner=self.settings.organization,
            status=pb.FUNCTION_STATUS_WAITING,
            archive=self.put(f"functions/{key}/archive", archive),
        )
        for name, kind in {
            "opener": pb.ASSET_DATA_MANAGER,
            "datasamples": pb.ASSET_DATA_SAMPLE,
            "start": pb.ASSET_MODEL,
        }.items():
            function.inputs[name].kind = kind
        function.outputs["model"].kind = pb.ASSET_MODEL
        function.outputs["score"].kind = pb.ASSET_PERFORMANCE
        self.recorded.functions[key] = function
        return function

    def claim(self, function: pb.Function) -> pb.ClaimTaskResponse:
        manager, sample, model = (str(uuid.uuid4()) for _ in range(3))
        owner = self.settings.organization
        self.put(f"data_samples/{sample}/x", b"40")
        answer = pb.ClaimTaskResponse(
            attempt=pb.Attempt(compute_task_key=self.task, number=2, token="token"),
            task=pb.ComputeTask(key=self.task, rank=1, owner=owner, worker=owner, function_key=function.key),
            function=function,
            lease=Duration(nanos=300_000_000),
            input_assets=[
                pb.ComputeTaskInputAsset(
                    identifier="opener",
                    data_manager=pb.DataManager(
                        key=manager,
                        owner=self.settings.organization,
                        opener=self.put(f"data_managers/{manager}/opener", b"# opener"),
                    ),
                ),
                pb.ComputeTaskInputAsset(
                    identifier="datasamples", data_sample=pb.DataSample(key=sample, owner=self.settings.organization)
                ),
                pb.ComputeTaskInputAsset(
                    identifier="start",
                    model=pb.Model(
                        key=model, owner=self.settings.organization, address=self.put(f"models/{model}", b"2")
                    ),
                ),
            ],
        )
        self.recorded.claims[self.task] = answer
        self.recorded.tasks[self.task] = answer.task
        return answer

    def claim_step(
        self, image: str, *args: str, env: Mapping[str, str] | None = None, images: str | None = None
    ) -> pb.ClaimTaskResponse:
        """Have the orchestrator hand over a container step.

        Args:
            image: of the step.
            args: of its container.
            env: likewise.
            images: the worker's map of images, in YAML; the one that is there by default.
        """
        if images is not None:
            self.settings.images = self.root / "images.yaml"
            self.settings.images.write_text(images)
        answer = pb.ClaimTaskResponse(
            attempt=pb.Attempt(compute_task_key=self.task, number=2, token="token"), lease=Duration(nanos=300_000_000)
        )
        answer.work.Pack(pb.ContainerWork(execution=7, step="main.train", image=image, args=args, env=env or {}))
        self.recorded.claims[self.task] = answer
        return answer

    @contextmanager
    def agent(self) -> Iterator[Callable[[Command], int]]:
        """Run the node's agent, in a thread; yield what tells it commands."""
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", buffering=0) as commands:
            thread = threading.Thread(target=node_agent.run, args=(self.settings, commands))
            thread.start()
            try:
                yield functools.partial(os.write, writer)
            finally:
                os.close(writer)
                thread.join()

    def run(self) -> None:
        """Run the attempt as a worker with an agent would."""
        with self.agent(), connect(self.settings) as channels:
            asking = Asking(channels, Consent.of(self.settings))
            attempt.run(
                self.settings, asking, Slot(self.settings), self.task, 2, claimed=lambda: self.claimed.append(self.task)
            )
        assert not list(self.settings.node_folder.glob("*"))

    @contextmanager
    def process(self, crash_point: str = "") -> Iterator[Forked]:
        """Run the attempt in a process of its own, as one of the pool; it is killed at the end of the block."""
        assert self._pool is not None
        words = self.settings.without_secrets()
        with self._pool.running(words, self.task, {crash.VARIABLE: crash_point}) as process:
            yield process

    @property
    def files(self) -> list[str]:
        """What lies in the node's folder, but for what is prepared for an attempt to come."""
        return [path.name for path in self.settings.node_folder.glob("*") if not path.name.startswith("spare-")]

    def build(self, key: str) -> None:
        with connect(self.settings) as channels:
            building.build(self.settings, channels, key)
        assert not list(self.settings.node_folder.glob("*"))

    @property
    def said(self) -> str:
        """What the attempt at a container step has said, as its store keeps it."""
        return (self.store / "task_logs" / self.task / "2").read_text()

    def failure(self) -> tuple[pb.FailTaskParam, str]:
        (failed,) = self.recorded.failed
        assert not self.recorded.completed
        assert failed.attempt.token == "token"
        log = self.store / "logs" / f"{self.task}-2"
        if failed.HasField("logs_address"):
            assert failed.logs_address.storage_address == f"{STORE_URL}/logs/{self.task}-2"
            assert failed.logs_address.checksum == hashlib.sha256(log.read_bytes()).hexdigest()
        return failed, log.read_text()


def run_attempt(settings: str, task: str) -> None:
    """Run a task's second attempt, in a process without an agent.

    Args:
        settings: the worker's, as JSON.
        task: its key.
    """
    worker = WorkerSettings.model_validate_json(settings)
    with connect(worker) as channels:
        asking = Asking(channels, Consent.of(worker))
        attempt.run(worker, asking, Slot(worker), task, 2, claimed=lambda: None)
