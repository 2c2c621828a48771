"""A real server with mutual TLS, and a network of two organizations in a channel of its own for each test."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from orchestrator import protos as pb
from orchestrator.client import Client, Plan
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.postgres import Postgres
from tests.kit.messages import new_data_manager, new_data_sample, new_function, samples
from tests.kit.servers import serving, settings_for_tls

ORGANIZATIONS = ("org-1", "org-2")
CHANNELS = 200

DATA = {
    "opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER),
    "datasamples": pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True),
}
ONE_MODEL = {"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)}


def new_database(postgres: Postgres) -> str:
    return postgres.create_database(f"client_{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def served_database(postgres: Postgres) -> str:
    """The URL of its database."""
    return new_database(postgres)


@pytest.fixture(scope="session")
def served_address(
    certificates: Layout, served_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """host:port of a server that asks for certificates."""
    channels = {f"channel-{number}": [*ORGANIZATIONS] for number in range(CHANNELS)}
    health = certificates.client("org-1").credentials()
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, served_database, channels, settings_for_tls(certificates), health) as address:
        yield address


@pytest.fixture(scope="session")
def free_channels() -> Iterator[str]:
    return (f"channel-{number}" for number in count())


@dataclass
class Partners:
    """Two organizations: org-1 has data and the functions, org-2 aggregates."""

    address: str
    channel: str
    data: Client
    hub: Client
    manager: str
    sample: str
    train: pb.Function
    average: pb.Function
    test: pb.Function

    def plan(self, rounds: int = 1, name: str = "plan") -> Plan[None]:
        """A plan of org-1, not submitted: in each round a training and an aggregation, and at the end a test."""
        return extend(self.data.plan(name, tag="tag"), self, rounds)

    def complete(self, plan: Plan[None]) -> None:
        """Do all tasks of a plan that are not Done yet."""
        for task in plan.tasks:
            if self.data.tasks.GetTask(pb.GetTaskParam(key=task.key)).status != pb.STATUS_DONE:
                self.do(task.key)

    def trained(self) -> pb.Model:
        """The model of a task that is Done, of another plan."""
        plan = self.data.plan("trained")
        task = plan.train(function=self.train, data_manager=self.manager, data_samples=[self.sample])
        plan.submit()
        self.complete(plan)
        return self.data.model(task)

    def do(self, key: str) -> None:
        """Do a task as its worker does, by the contract's own calls."""
        worker = self.start(key)
        for identifier in self.data.tasks.GetTask(pb.GetTaskParam(key=key)).outputs:
            if identifier == "model":
                address = pb.Addressable(checksum="0" * 64, storage_address=f"https://store.example/models/{key}")
                model = pb.NewModel(key=str(uuid.uuid4()), compute_task_key=key, address=address)
                model.compute_task_output_identifier = identifier
                worker.models.RegisterModels(pb.RegisterModelsParam(models=[model]))
            else:
                measured = pb.NewPerformance(compute_task_key=key, performance_value=0.5)
                measured.compute_task_output_identifier = identifier
                worker.performances.RegisterPerformance(measured)
        worker.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=key, action=pb.TASK_ACTION_DONE))

    def start(self, key: str) -> Client:
        """Begin a task, and return its worker."""
        task = self.data.tasks.GetTask(pb.GetTaskParam(key=key))
        worker = self.data if task.worker == "org-1" else self.hub
        worker.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=key, action=pb.TASK_ACTION_EXECUTING))
        return worker

    def fail(self, key: str, report: pb.NewFailureReport) -> None:
        """Begin a task and report why it failed."""
        report.asset_key, report.asset_type = key, pb.FAILED_ASSET_COMPUTE_TASK
        self.start(key).failure_reports.RegisterFailureReport(report)


def extend(plan: Plan, network: Partners, rounds: int) -> Plan:
    """Add to a plan what `Partners.plan` says."""
    shared = None
    for _ in range(rounds):
        trained = plan.train(
            function=network.train,
            data_manager=network.manager,
            data_samples=[network.sample],
            shared=shared,
            permissions="org-2",
        )
        shared = plan.aggregate(
            function=network.average, models=[trained], worker="org-2", permissions="org-1", metadata={"who": "hub"}
        )
    plan.test(function=network.test, data_manager=network.manager, data_samples=[network.sample], model=shared)
    return plan


@pytest.fixture
def network(served_address: str, certificates: Layout, free_channels: Iterator[str]) -> Iterator[Partners]:
    with opened(served_address, next(free_channels), certificates) as network:
        register(network)
        yield network


@contextmanager
def opened(address: str, channel: str, certificates: Layout | None) -> Iterator[Partners]:
    """Connect both organizations; without certificates by plain gRPC."""
    nothing = pb.Function()
    with ExitStack() as stack:
        data, hub = (
            stack.enter_context(Client(address, name, channel, certificates and certificates.client(name)))
            for name in ORGANIZATIONS
        )
        yield Partners(address, channel, data, hub, "", "", nothing, nothing, nothing)


def register(network: Partners, store: str = "") -> None:
    """Register the organizations, org-1 with the address of its asset store, the data and the functions."""
    for client, address in ((network.data, store), (network.hub, "")):
        client.organizations.RegisterOrganization(pb.RegisterOrganizationParam(address=address))
    network.manager = network.data.data_managers.RegisterDataManager(new_data_manager()).key
    sample = samples(new_data_sample(network.manager))
    network.sample = network.data.data_samples.RegisterDataSamples(sample).data_samples[0].key
    model = pb.FunctionInput(kind=pb.ASSET_MODEL)
    start = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
    several = pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)
    score = {"auc": pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)}
    network.train = ready(network.data, "train", {**DATA, "shared": start}, ONE_MODEL)
    network.average = ready(network.data, "average", {"models": several}, ONE_MODEL)
    network.test = ready(network.data, "test", {**DATA, "model": model}, score)


def ready(client: Client, name: str, inputs: dict, outputs: dict) -> pb.Function:
    """Register a function that is READY."""
    function = client.functions.RegisterFunction(new_function(name=name, inputs=inputs, outputs=outputs))
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        client.functions.ApplyFunctionAction(pb.ApplyFunctionActionParam(function_key=function.key, action=action))
    return function
