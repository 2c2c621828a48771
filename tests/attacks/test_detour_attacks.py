"""Attacks on models, logs and functions that one may not have, by way of others who may: org-b is the attacker.

It has nothing but its own certificates, and makes the contract's calls by itself, since its worker would not; org-a is
the organization whose rights it would use, and org-c the one whose model it wants.
"""

import contextlib
import ssl
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.embedded import readiness
from orchestrator.embedded.federation import Federation, remove_data
from tests.kit.network import Network
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until

MODEL = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
TRAINS = "import uuid; outputs['model'].write_text(f'weights {uuid.uuid4()}')"
COPIES = "outputs['model'].write_bytes(inputs['model'].read_bytes() if 'model' in inputs else b'nothing')"


class Attacked:
    """Three organizations: what org-a and org-c have that org-b may not read, and what org-b does."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.places = network.federation.places
        self.b = network.client("org-b")
        private = pb.NewPermissions(authorized_ids=["org-a"])
        self.trains = network.function(TRAINS, "org-c", users=private)
        self.copies = network.function(COPIES, "org-a", inputs={"model": MODEL})
        self.fails = network.function("print('the private log'); sys.exit(1)", "org-a", users=pb.NewPermissions())
        for function in (self.trains, self.copies, self.fails):
            assert network.built(function).status == pb.FUNCTION_STATUS_READY
        # From here on org-b answers its tasks by itself.
        network.federation.service("worker-org-b").stop()
        self.model_of_c = self.train("org-c", "org-a")
        self.model_of_a = self.train("org-a")
        self.failed = self.network.task(self.fails)
        assert network.ended(self.failed).status == pb.STATUS_FAILED
        report = network.client("org-a").failure_reports.GetFailureReport(
            pb.GetFailureReportParam(asset_key=self.failed)
        )
        self.log_of_a = report.logs_address

    def train(self, owner: str, *users: str) -> pb.Model:
        """Return a model that an organization made at home."""
        return self.model(self.run(owner, self.trains, owner, *users))

    def run(self, owner: str, function: pb.Function, worker: str, *users: str, **inputs: object) -> str:
        """Submit a task; return its key."""
        plan = self.network.client(owner).plan("plan")
        task = plan.task(function=function, worker=worker, inputs=inputs, outputs={"model": users})
        plan.submit()
        return task.key

    def model(self, task: str) -> pb.Model:
        """Return the model of a task, once it is Done."""
        assert self.network.ended(task).status == pb.STATUS_DONE
        asked = pb.GetComputeTaskModelsParam(compute_task_key=task)
        (model,) = self.b.models.GetComputeTaskOutputModels(asked).models
        return model

    def claimed(self, address: pb.Addressable | None = None, key: str = "") -> pb.Model:
        """Return a model that org-b says one of its tasks made: by default one that lies where it must."""
        key, task = key or str(uuid.uuid4()), self.run("org-b", self.copies, "org-b", "org-a")
        act(self.b, task, pb.TASK_ACTION_EXECUTING)
        address = address or self.network.put("org-b", f"models/{key}", b"a model of org-b")
        new = pb.NewModel(key=key, compute_task_key=task, compute_task_output_identifier="model", address=address)
        (model,) = self.b.models.RegisterModels(pb.RegisterModelsParam(models=[new])).models
        act(self.b, task, pb.TASK_ACTION_DONE)
        return model

    def refused(self, task: str, *words: str) -> pb.FailureReport:
        """Check that a task of org-b at org-a fails, brings nothing, and that everybody can read why."""
        assert self.network.ended(task).status == pb.STATUS_FAILED
        asked = pb.GetComputeTaskModelsParam(compute_task_key=task)
        assert not self.b.models.GetComputeTaskOutputModels(asked).models
        for word in words:
            assert word in self.reason(task)
        return self.b.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=task))

    def reason(self, task: str) -> str:
        """Return what the last event of a task says of its end."""
        wanted = pb.EventQueryFilter(asset_key=task, asset_kind=pb.ASSET_COMPUTE_TASK)
        events = self.b.events.QueryEvents(pb.QueryEventsParam(filter=wanted, sort=pb.DESCENDING)).events
        return events[0].metadata["reason"]

    def log(self, task: str) -> str:
        """Return what org-a's worker wrote about a task."""
        file, _ = self.network.store("org-a").open(f"logs/{task}-1")
        with file:
            return file.read().decode()

    def ask(self, who: str, url: str) -> httpx.Response:
        """Ask an asset store as an organization."""
        files = self.places.certificates.peer(who)
        context = ssl.create_default_context(cafile=files.authority)
        context.load_cert_chain(files.certificate, files.key)
        return httpx.get(url, verify=context, trust_env=False, timeout=60)

    def url(self, organization: str, name: str) -> str:
        return f"{self.places.store_url(organization)}/{name}"

    @contextlib.contextmanager
    def redirecting(self, location: str) -> Iterator[None]:
        """Have the asset store of org-b send everybody elsewhere, with its own certificate."""
        asked = threading.Event()

        class Redirect(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.set()
                self.send_response(302)
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        store = self.network.federation.service("store-org-b")
        port = self.places.store_ports["org-b"]
        store.stop()
        with ThreadingHTTPServer(("127.0.0.1", port), Redirect) as server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            files = self.places.certificates.store("org-b")
            context.load_cert_chain(files.certificate, files.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
                assert asked.is_set()
            finally:
                server.shutdown()
                thread.join()
        store.start()
        peer = self.places.certificates.peer("org-b")
        wait_until(lambda: readiness.serves_https(port, peer), 30, "the asset store of org-b")


def act(client: Client, task: str, action: "pb.ComputeTaskAction.ValueType") -> None:
    client.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=task, action=action))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    settings = {"RETRY_INTERNAL_ATTEMPTS": 1, "TRANSIENT_OUTPUT_PERIOD": 1}
    folder = passable(tmp_path_factory.mktemp("detour"))
    federation = Federation(folder, ["org-a", "org-b", "org-c"], settings=settings, flower=False)
    try:
        with federation, Network(federation) as network:
            yield Attacked(network)
    finally:
        remove_data(federation.data)


def test_who_may_use_a_model_gets_it(attacked: Attacked):
    """Else the refusals below would prove nothing."""
    copy = attacked.run("org-a", attacked.copies, "org-a", model=attacked.model_of_c.key)
    assert attacked.model(copy).address.checksum == attacked.model_of_c.address.checksum
    mine = attacked.claimed()
    copy = attacked.run("org-b", attacked.copies, "org-a", "org-b", model=mine.key)
    assert attacked.model(copy).address.checksum == mine.address.checksum


def test_a_direct_download_is_refused(attacked: Attacked):
    for model in (attacked.model_of_c, attacked.model_of_a):
        assert attacked.ask("org-b", model.address.storage_address).status_code == 403
    assert attacked.ask("org-a", attacked.model_of_c.address.storage_address).status_code == 200
    assert attacked.ask("org-b", attacked.log_of_a.storage_address).status_code == 403


@pytest.mark.parametrize("target", ["model_of_c", "model_of_a", "log_of_a", "archive_of_c"])
def test_a_model_at_the_address_of_another_file_is_not_fetched(attacked: Attacked, target: str):
    address = {
        "model_of_c": attacked.model_of_c.address,
        "model_of_a": attacked.model_of_a.address,
        "log_of_a": attacked.log_of_a,
        "archive_of_c": attacked.trains.archive,
    }[target]
    model = attacked.claimed(address)
    task = attacked.run("org-b", attacked.copies, "org-a", "org-b", model=model.key)
    report = attacked.refused(
        task,
        f"the model {model.key} is registered at {address.storage_address!r}",
        "only fetched from org-b's own asset store and under its own key",
        attacked.url("org-b", f"models/{model.key}"),
    )
    assert report.error_type == pb.ERROR_TYPE_INTERNAL
    assert "only fetched from org-b's own asset store" in attacked.log(task)


def test_its_own_reader_is_not_led_to_a_model_under_another_name(attacked: Attacked):
    model = attacked.claimed(attacked.model_of_c.address)
    attacked.refused(attacked.run("org-a", attacked.copies, "org-a", "org-b", model=model.key), "org-b's own asset")


@pytest.mark.parametrize("path", ["models/../models/{}", "models/%2e%2e/models/{}", "/models/{}", "models/{}?", "x/{}"])
def test_an_address_that_only_looks_like_ones_own_is_not_fetched(attacked: Attacked, path: str):
    key = str(uuid.uuid4())
    stored = attacked.network.put("org-b", f"models/{key}", b"a model of org-b")
    stored.storage_address = attacked.url("org-b", path.format(key))
    model = attacked.claimed(stored, key)
    attacked.refused(attacked.run("org-b", attacked.copies, "org-a", "org-b", model=model.key), "only fetched from")


def test_a_redirection_is_not_followed(attacked: Attacked):
    mine, wanted = str(uuid.uuid4()), attacked.model_of_c.address
    address = pb.Addressable(checksum=wanted.checksum, storage_address=attacked.url("org-b", f"models/{mine}"))
    model = attacked.claimed(address, mine)
    with attacked.redirecting(wanted.storage_address):
        task = attacked.run("org-b", attacked.copies, "org-a", "org-b", model=model.key)
        attacked.refused(task)
    assert f"{address.storage_address} answered 302" in attacked.log(task)


def test_a_function_at_the_address_of_another_is_not_run(attacked: Attacked):
    key = str(uuid.uuid4())
    new = pb.NewFunction(
        key=key,
        name="not mine",
        description=attacked.network.put("org-b", f"functions/{key}/description", b"# Not mine"),
        archive=attacked.trains.archive,
        new_permissions=pb.NewPermissions(public=True),
        outputs=attacked.trains.outputs,
    )
    function = attacked.b.register(new)
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        attacked.b.functions.ApplyFunctionAction(pb.ApplyFunctionActionParam(function_key=key, action=action))
    task = attacked.run("org-b", function, "org-a", "org-b")
    report = attacked.refused(task, "BUILD error")
    assert report.error_type == pb.ERROR_TYPE_BUILD
    log = attacked.ask("org-b", report.logs_address.storage_address)
    assert f"the archive of function {key} is registered at {new.archive.storage_address!r}" in log.text
    assert "only fetched from org-b's own asset store" in log.text


@pytest.mark.parametrize("reader", ["org-a", "org-b", "org-c"])
def test_a_store_serves_nothing_that_another_organization_owns(attacked: Attacked, reader: str):
    """Not even a file that lies there under the very name that was registered."""
    key = str(uuid.uuid4())
    planted = attacked.network.put("org-c", f"models/{key}", b"planted")
    attacked.claimed(planted, key)
    answer = attacked.ask(reader, planted.storage_address)
    assert (answer.status_code, b"planted" in answer.content) == (404, False)


@pytest.mark.parametrize("reader", ["org-a", "org-b"])
@pytest.mark.parametrize("elsewhere", ["another-store", "another-key", "dots"])
def test_a_store_serves_nothing_that_is_registered_elsewhere(attacked: Attacked, reader: str, elsewhere: str):
    key = str(uuid.uuid4())
    stored = attacked.network.put("org-b", f"models/{key}", b"registered elsewhere")
    url = stored.storage_address
    stored.storage_address = {
        "another-store": attacked.url("org-c", f"models/{key}"),
        "another-key": attacked.url("org-b", f"models/{uuid.uuid4()}"),
        "dots": attacked.url("org-b", f"models/./{key}"),
    }[elsewhere]
    attacked.claimed(stored, key)
    answer = attacked.ask(reader, url)
    assert (answer.status_code, b"registered elsewhere" in answer.content) == (403, False)


def test_a_store_serves_no_model_that_was_withdrawn(attacked: Attacked):
    plan = attacked.network.client("org-a").plan("transient")
    parent = plan.task(
        function=attacked.copies,
        worker="org-c",
        outputs={
            "model": pb.NewComputeTaskOutput(permissions=pb.NewPermissions(authorized_ids=["org-a"]), transient=True)
        },
    )
    plan.task(function=attacked.copies, worker="org-a", inputs={"model": parent}, outputs={"model": ()})
    plan.submit()
    model = attacked.model(parent.key)
    store, name = attacked.network.store("org-c"), f"models/{model.key}"
    wait_until(lambda: not store.exists(name), 60, "the transient model to be deleted")
    # As a backup would bring it back.
    attacked.network.put("org-c", name, b"withdrawn")
    for reader in ("org-a", "org-c"):
        answer = attacked.ask(reader, model.address.storage_address)
        assert (answer.status_code, b"withdrawn" in answer.content) == (404, False)


def test_a_log_that_is_reported_for_a_task_of_anothers_is_not_served(attacked: Attacked):
    """org-b reports that the log of its own failed task is the private one of org-a."""
    task = attacked.run("org-b", attacked.copies, "org-b", "org-b")
    act(attacked.b, task, pb.TASK_ACTION_EXECUTING)
    attacked.b.failure_reports.RegisterFailureReport(
        pb.NewFailureReport(
            asset_key=task,
            asset_type=pb.FAILED_ASSET_COMPUTE_TASK,
            error_type=pb.ERROR_TYPE_EXECUTION,
            logs_address=attacked.log_of_a,
        )
    )
    planted = attacked.network.put("org-a", f"logs/{task}-1", b"the private log")
    for url in (attacked.log_of_a.storage_address, planted.storage_address):
        answer = attacked.ask("org-b", url)
        assert (answer.status_code in (403, 404), b"private" in answer.content) == (True, False)
