"""`orchestrator task logs`, from a real asset store that asks the real orchestrator who may read."""

import hashlib
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from orchestrator import protos as pb
from orchestrator.cli.connection import tls
from orchestrator.client import StoreError
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.tasks import task_runs
from tests.integration.executions.runs import box
from tests.kit.commands import run_bytes
from tests.kit.database import opened as opened_database
from tests.kit.messages import new_data_manager, new_data_sample, samples
from tests.kit.partners import Partners, opened, register
from tests.kit.processes import clean_environment
from tests.kit.waiting import wait_until

from .commands import options, run, run_in_terminal

LOG = b"Epoch 1\n\x1b[2JTraceback \xff (most recent call last)\n" * 1000


@dataclass
class Store:
    """The asset store of org-1."""

    address: str
    root: Path

    def put(self, key: str) -> pb.Addressable:
        """Keep a log, and return where it is and what it must be."""
        (self.root / "logs").mkdir(exist_ok=True)
        (self.root / "logs" / f"{key}-1").write_bytes(LOG)
        return pb.Addressable(checksum=hashlib.sha256(LOG).hexdigest(), storage_address=f"{self.address}/logs/{key}-1")

    def say(self, key: str, attempt: int, content: bytes) -> None:
        """Let an attempt say something more."""
        folder = self.root / "task_logs" / key
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / str(attempt)).open("ab") as file:
            file.write(content)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def network(served_address: str, certificates: Layout, free_channels: Iterator[str], port: int) -> Iterator[Partners]:
    with opened(served_address, next(free_channels), certificates) as network:
        register(network, f"https://127.0.0.1:{port}")
        yield network


@pytest.fixture
def store(network: Partners, certificates: Layout, tmp_path: Path, port: int) -> Iterator[Store]:
    own, server = certificates.client("org-1"), certificates.store("org-1")
    environment = {
        **clean_environment(),
        "ORCHESTRATOR_ORGANIZATION": "org-1",
        "ORCHESTRATOR_CHANNELS": network.channel,
        "ORCHESTRATOR_ADDRESS": network.address,
        "ORCHESTRATOR_CLIENT_CA_CERT": str(own.authority),
        "ORCHESTRATOR_CLIENT_CERT": str(own.certificate),
        "ORCHESTRATOR_CLIENT_KEY": str(own.key),
        "ORCHESTRATOR_STORE_ROOT": str(tmp_path),
        "ORCHESTRATOR_STORE_URL": f"https://127.0.0.1:{port}",
        "ORCHESTRATOR_STORE_ADDRESS": f"127.0.0.1:{port}",
        "ORCHESTRATOR_STORE_CERT": str(server.certificate),
        "ORCHESTRATOR_STORE_KEY": str(server.key),
        "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR": str(certificates.client_authorities),
    }
    address = f"https://127.0.0.1:{port}"
    context = tls(own, certificates.peers)

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/nothing", verify=context, trust_env=False, timeout=60).status_code == 404
        except httpx.TransportError:
            return False

    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "store"], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(answers, timeout=30, message="the asset store to answer")
            yield Store(address, tmp_path)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def failed_task(network: Partners, store: Store, **report: object) -> str:
    """Return the key of a task of org-1 that failed with a log."""
    plan = network.plan()
    plan.submit()
    key = plan.tasks[0].key
    failure = pb.NewFailureReport(error_type=pb.ERROR_TYPE_EXECUTION, logs_address=store.put(key))
    failure.MergeFrom(pb.NewFailureReport(**report))
    network.fail(key, failure)
    return key


def logs(
    network: Partners, certificates: Layout, organization: str, key: str, *more: str
) -> "subprocess.CompletedProcess[bytes]":
    arguments = [*options(network, certificates, organization), "--peer-ca-cert", str(certificates.peers)]
    return run_bytes("task", *arguments, "logs", key, *more)


def test_the_log_is_printed_as_it_was_written(network: Partners, store: Store, certificates: Layout):
    key = failed_task(network, store)
    for organization in ("org-1", "org-2"):
        done = logs(network, certificates, organization, key, "--raw")
        assert (done.returncode, done.stdout, done.stderr) == (0, LOG, b"")

    # Nor through a pipe, which may end in one.
    piped = logs(network, certificates, "org-1", key)
    assert (piped.returncode, piped.stdout.count(b"\x1b"), piped.stdout.count(b"Epoch 1\n")) == (0, 0, 1000)

    # A terminal is not steered by what somebody's function wrote.
    arguments = [*options(network, certificates), "--peer-ca-cert", str(certificates.peers)]
    code, shown = run_in_terminal("task", *arguments, "logs", key)
    assert code == 0
    assert b"\x1b" not in shown
    assert shown.count(b"Epoch 1\r\n") == 1000


def test_the_permission_is_the_data_sets(network: Partners, store: Store, certificates: Layout):
    private = new_data_manager(logs_permission=pb.NewPermissions())
    network.manager = network.data.data_managers.RegisterDataManager(private).key
    sample = samples(new_data_sample(network.manager))
    network.sample = network.data.data_samples.RegisterDataSamples(sample).data_samples[0].key
    key = failed_task(network, store)
    done = logs(network, certificates, "org-2", key)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1)
    assert b"403" in done.stderr
    assert b"org-2 may not read" in done.stderr
    assert logs(network, certificates, "org-1", key, "--raw").stdout == LOG


def test_another_file_is_not_printed(network: Partners, store: Store, certificates: Layout):
    key = failed_task(network, store, logs_address=pb.Addressable(checksum="0" * 64))
    done = logs(network, certificates, "org-1", key)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1)
    assert b"is not the registered one" in done.stderr


def test_a_store_that_is_not_there(network: Partners, store: Store, certificates: Layout):
    nowhere = f"https://127.0.0.1:{free_port()}/logs/{uuid.uuid4()}-1"
    key = failed_task(network, store, logs_address=pb.Addressable(storage_address=nowhere))
    done = logs(network, certificates, "org-1", key)
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    assert nowhere.encode() in done.stderr


def test_certificates_are_needed(network: Partners, store: Store, certificates: Layout):
    key = failed_task(network, store)
    code, _, errors = run("task", *options(network, certificates), "logs", key)
    assert (code, "--peer-ca-cert" in errors) == (2, True)


@contextmanager
def following(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "orchestrator", *arguments]
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def begun(network: Partners) -> str:
    """Return the key of a task of org-1 that runs."""
    plan = network.plan()
    plan.submit()
    network.start(plan.tasks[0].key)
    return plan.tasks[0].key


def test_what_a_task_says_is_printed_while_it_runs_and_when_it_is_done(
    network: Partners, store: Store, certificates: Layout
):
    key = begun(network)
    quiet = logs(network, certificates, "org-2", key)
    assert (quiet.returncode, quiet.stdout) == (1, b"")
    assert b"has said nothing yet" in quiet.stderr
    with pytest.raises(StoreError, match=f"^task {key} has said nothing yet$"):
        network.data.log(key)
    store.say(key, 1, b"of the first\n")
    store.say(key, 2, b"half a li")
    for organization in ("org-1", "org-2"):
        assert logs(network, certificates, organization, key[:8]).stdout == b"half a li"
    assert logs(network, certificates, "org-1", key, "--attempt", "1").stdout == b"of the first\n"
    assert b"attempt 3 of task" in logs(network, certificates, "org-1", key, "--attempt", "3").stderr
    store.say(key, 2, b"ne\n")
    assert network.hub.log(key) == "half a line\n"
    assert network.data.log(key, attempt=1) == "of the first\n"
    network.data.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=key, action=pb.TASK_ACTION_CANCELED))
    assert logs(network, certificates, "org-2", key, "--follow").stdout == b"half a line\n"


def test_the_permission_of_what_a_task_says_is_the_data_sets_too(network: Partners, store: Store, certificates: Layout):
    private = new_data_manager(logs_permission=pb.NewPermissions())
    network.manager = network.data.data_managers.RegisterDataManager(private).key
    sample = samples(new_data_sample(network.manager))
    network.sample = network.data.data_samples.RegisterDataSamples(sample).data_samples[0].key
    key = begun(network)
    store.say(key, 1, b"secret")
    refused = logs(network, certificates, "org-2", key, "--follow")
    assert (refused.returncode, refused.stdout, refused.stderr.count(b"\n")) == (3, b"", 1)
    assert b"org-2 may not read" in refused.stderr
    assert logs(network, certificates, "org-1", key).stdout == b"secret"


def test_a_task_of_another_worker_has_no_log_here(network: Partners, store: Store, certificates: Layout):
    plan = network.plan()
    plan.submit()
    network.do(plan.tasks[0].key)
    other = plan.tasks[1].key
    network.start(other)
    store.say(other, 1, b"not ours")
    context = tls(certificates.client("org-2"), certificates.peers)
    answer = httpx.get(f"{store.address}/task_logs/{other}", verify=context, trust_env=False, timeout=60)
    assert answer.status_code == 404
    assert "org-2 runs that task" in answer.text


def test_a_log_is_followed_to_the_end_of_its_task(network: Partners, store: Store, certificates: Layout):
    key = begun(network)
    arguments = [*options(network, certificates, "org-2"), "--peer-ca-cert", str(certificates.peers)]
    with following("task", *arguments, "logs", key, "--follow") as follows:
        assert follows.stdout
        store.say(key, 1, "one ä".encode()[:-1])
        store.say(key, 1, "ä".encode()[1:] + b"\n")
        assert follows.stdout.readline() == "one ä\n".encode()
        store.say(key, 1, b"two\n")
        assert follows.stdout.readline() == b"two\n"
        store.say(key, 2, b"again\n")
        assert [follows.stdout.readline() for _ in range(3)] == [b"\n", b"[attempt 2]\n", b"again\n"]
        (store.root / "logs").mkdir()
        log = store.root / "logs" / f"{key}-2"
        log.write_bytes(b"again\nlast words\n\nTask failed: it did\n")
        (store.root / "task_logs" / key / "2").unlink()
        report = pb.NewFailureReport(asset_key=key, asset_type=pb.FAILED_ASSET_COMPUTE_TASK)
        report.error_type = pb.ERROR_TYPE_EXECUTION
        report.logs_address.checksum = hashlib.sha256(log.read_bytes()).hexdigest()
        report.logs_address.storage_address = f"{store.address}/logs/{key}-2"
        network.data.failure_reports.RegisterFailureReport(report)
        rest, _ = follows.communicate(timeout=30)
    assert (follows.returncode, rest) == (0, b"last words\n\nTask failed: it did\n")


def test_the_log_of_a_build_is_its_owners_where_it_did_not_fail(network: Partners, store: Store, certificates: Layout):
    key = network.train.key
    arguments = ["--peer-ca-cert", str(certificates.peers), "logs", key[:12]]
    nothing = run_bytes("function", *options(network, certificates), *arguments)
    assert (nothing.returncode, nothing.stdout) == (1, b"")
    assert b"no log of its build" in nothing.stderr
    store.put(key)
    own = run_bytes("function", *options(network, certificates), *arguments, "--raw")
    assert (own.returncode, own.stdout) == (0, LOG)
    assert run_bytes("function", *options(network, certificates, "org-2"), *arguments).returncode == 1


def step_of(network: Partners, database: str, starter: str) -> tuple[int, str]:
    """Start an execution whose only container runs at org-1; return its id and the key of the step."""
    settings = ExecutionSettings(valid_data_partners=("org-1",))
    container = box("train", "org-1")
    workflow = {"metadata": {"generateName": "run-"}, "spec": {"entrypoint": "train", "templates": [container]}}

    def start(transaction: Transaction) -> int:
        execution = executions.insert(transaction, pb.Execution(schema="s"), {})
        task_runs.begin(transaction, execution, workflow, settings)
        return execution.id

    with opened_database(database, pool_size=1) as rows:
        id_ = rows.run(starter, network.channel, start)
    client = network.data if starter == "org-1" else network.hub
    (shown,) = client.execution_steps.GetSteps(pb.GetStepsParam(execution=id_)).steps
    return id_, shown.step.key


def test_the_log_of_a_step_is_for_its_worker_and_for_who_runs_the_execution(
    network: Partners, store: Store, certificates: Layout, served_database: str
):
    def printed(id_: int, organization: str) -> "subprocess.CompletedProcess[bytes]":
        asked = [*options(network, certificates, organization), "--peer-ca-cert", str(certificates.peers)]
        return run_bytes("execution", "logs", str(id_), "train", "--raw", *asked)

    theirs, key = step_of(network, served_database, "org-2")
    store.say(key, 1, LOG)
    for organization in ("org-1", "org-2"):
        done = printed(theirs, organization)
        assert (done.returncode, done.stdout, done.stderr) == (0, LOG, b"")

    own, other = step_of(network, served_database, "org-1")
    store.say(other, 1, LOG)
    assert printed(own, "org-1").stdout == LOG
    done = printed(own, "org-2")
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"execution {own} has no containers that org-2 may know of".encode() in done.stderr
    # Nor by its key.
    done = run_bytes("task", *options(network, certificates, "org-2"), "logs", other)
    assert (done.returncode != 0, done.stdout) == (True, b"")
