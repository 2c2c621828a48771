"""A whole federation as users start it, what it refuses, and that nothing of it stays."""

import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError, Certificates, Client
from orchestrator.embedded import running
from orchestrator.embedded.certificates import LOCAL_HOSTS, Layout, create_authority
from orchestrator.embedded.commands import NODE
from orchestrator.embedded.federation import Federation, remove_data
from orchestrator.embedded.lock import FolderTakenError, holder_of
from orchestrator.embedded.readiness import Nodes, inspect_workers
from tests.kit.processes import lives
from tests.kit.waiting import wait_until
from workers.assets.store import AssetStore

ORGANIZATIONS = ("hospital-1", "aggregator")
START_SECONDS = 60.0
HEARD: list[pb.Node] = []
"""The nodes that the orchestrator had heard as soon as the federation was ready."""


# A federation is a dozen processes, which start slowly where other tests run beside.
@pytest.fixture(scope="module")
def federation() -> Iterator[Federation]:
    with tempfile.TemporaryDirectory(prefix="orchestrator-test-") as folder:
        data = Path(folder) / "data"
        try:
            with Federation(data, ORGANIZATIONS) as started:
                with started.running.client(ORGANIZATIONS[0]) as client:
                    HEARD.extend(client.worker.GetNodes(pb.GetNodesParam()).nodes)
                yield started
        finally:
            remove_data(data)


def commands_of(federation: Federation) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Yield the name, the words and the environment of each of our commands that a federation runs."""
    # Another test's federation may live in this process too.
    for process in psutil.Process().children():
        words = process.cmdline()
        if "orchestrator" in words and process.cwd() == str(federation.data):
            yield words[words.index("orchestrator") + 1], words, process.environ()


@contextmanager
def command(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `orchestrator …` in a session of its own; it is killed at the end of the test."""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def free_range(count: int) -> int:
    """Return the first of some ports that stand side by side, and that nobody uses now."""
    for first in range(20_000, 30_000, count):
        with suppress(OSError), ExitStack() as held:
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise AssertionError("no free range of ports")


@contextmanager
def up_logged(
    log: Path, *arguments: str, **variables: str
) -> "Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]":
    """Run `orchestrator …`, which is killed in the end, and return it with what reads what it has said."""
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **variables},
        ) as process,
    ):
        try:
            yield process, log.read_text
        finally:
            process.kill()


def family_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def until_ready(folder: Path, process: "subprocess.Popen[bytes]") -> running.Running:
    def ready() -> running.Running | None:
        assert process.poll() is None, "it has ended"
        return running.read(folder)

    return wait_until(ready, START_SECONDS, "a federation that is ready", interval=0.1)


def context_of(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates.authority)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def status_of(url: str, certificates: Certificates) -> int:
    with httpx.Client(verify=context_of(certificates), trust_env=False, timeout=60) as client:
        return client.get(url).status_code


def test_every_organization_is_served_over_mutual_tls(federation):
    for organization in ORGANIZATIONS:
        certificates = federation.certificates(organization)
        with Client(federation.running.address, organization, federation.channel, certificates) as client:
            assert client.info.QueryVersion(pb.QueryVersionParam()).orchestrator


def test_every_worker_consumes(federation):
    with Nodes(federation.places.broker_url, ORGANIZATIONS) as nodes:
        assert all(nodes.answers(f"{organization}@node-1") for organization in ORGANIZATIONS)


def test_flower_knows_the_workers_and_asks_for_a_password(federation):
    flower = urlsplit(federation.running.flower)
    credentials = f"{flower.username}:{flower.password}"
    page = f"http://{flower.hostname}:{flower.port}/api/workers"
    authorization = f"Basic {b64encode(credentials.encode()).decode()}"

    def knows_all() -> bool:
        # A busy worker may answer too late for one inspection.
        inspect_workers(flower.port, credentials)
        with urllib.request.urlopen(urllib.request.Request(page, headers={"Authorization": authorization})) as answer:
            shown = answer.read().decode()
        return all(f"{organization}@node-1" in shown for organization in ORGANIZATIONS)

    wait_until(knows_all, 30, "Flower to know all workers")
    lengths = urllib.request.Request(page.replace("workers", "queues/length"), headers={"Authorization": authorization})
    empty = dict.fromkeys([*(f"org.{name}" for name in ORGANIZATIONS), "maintenance"], 0)

    def shows_all_empty() -> bool:
        with urllib.request.urlopen(lengths) as answer:
            return {queue["name"]: queue["messages"] for queue in json.load(answer)["active_queues"]} == empty

    # A busy beat may have sent what is not yet taken.
    wait_until(shows_all_empty, 60, "Flower to show each queue empty")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(page)
    assert refused.value.code == 401
    refused.value.close()


def test_other_commands_are_told_all_they_need(federation):
    told = running.read(federation.folder)
    assert told == federation.running
    assert told.alive
    assert told.pid == os.getpid()
    assert told.certificates("hospital-1") == federation.certificates("hospital-1")
    assert ((federation.folder / running.FILE).stat().st_mode & 0o777) == 0o600
    with pytest.raises(ValueError, match="hospital-9"):
        told.certificates("hospital-9")


def test_no_process_is_told_more_than_it_needs(federation):
    password = federation.places.database_url.split(":")[2].split("@")[0]
    told = list(commands_of(federation))
    assert {name for name, _, _ in told} == {"serve", "beat", "flower", "worker", "store"}
    assert not any(password in word for _, words, _ in told for word in words)
    assert {name for name, _, environment in told if password in str(environment)} == {"serve", "beat"}


def test_each_process_is_told_its_own_broker_account_only(federation):
    administrator = urlsplit(federation.places.broker_url).password
    passwords = federation.places.broker.passwords
    for command, words, environment in commands_of(federation):
        own = {
            "worker": {f"org.{words[-1]}"},
            "beat": {"maintenance"},
            "flower": {"flower"},
            "serve": set(),  # a file tells it those of all organizations
            "store": set(),
        }[command]
        assert administrator not in str(environment)
        assert {name for name, password in passwords.items() if password in str(environment)} == own
        assert not any(password in word for word in words for password in [administrator, *passwords.values()])


def test_what_a_killed_process_leaves_lies_with_the_federations_data(federation):
    for _, _, environment in commands_of(federation):
        assert environment["TMPDIR"].startswith(f"{federation.data}/")


def test_a_certificate_does_not_speak_for_another_organization(federation):
    certificates = federation.certificates("hospital-1")
    with (
        Client(federation.running.address, "aggregator", federation.channel, certificates) as client,
        pytest.raises(CallError) as refused,
    ):
        client.info.QueryVersion(pb.QueryVersionParam())
    assert refused.value.oe_code == "OE0102"


def test_an_asset_store_serves_those_who_may_read(federation, tmp_path):
    layout, places = Layout(federation.running.certificate_folder), federation.places
    key = str(uuid.uuid4())
    opener = tmp_path / "opener"
    opener.write_text("opener")
    store = AssetStore(str(places.store_root("hospital-1")))
    url = f"{places.store_url('hospital-1')}/data_managers/{key}/opener"
    address = pb.Addressable(checksum=store.put(f"data_managers/{key}/opener", opener).checksum, storage_address=url)

    def client_of(organization: str) -> Client:
        certificates = federation.certificates(organization)
        return Client(federation.running.address, organization, federation.channel, certificates)

    with client_of("hospital-1") as client:
        address_of_store = pb.RegisterOrganizationParam(address=places.store_url("hospital-1"))
        client.organizations.RegisterOrganization(address_of_store)
        client.data_managers.RegisterDataManager(
            pb.NewDataManager(
                key=key,
                name="private",
                description=address,
                opener=address,
                new_permissions=pb.NewPermissions(),
                logs_permission=pb.NewPermissions(),
            )
        )
    assert status_of(url, layout.peer("hospital-1")) == 200
    # Only the members of a channel learn that it has such a key.
    assert status_of(url, layout.peer("aggregator")) == 404
    with client_of("aggregator") as client:
        client.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
    assert status_of(url, layout.peer("aggregator")) == 403


def test_all_nodes_are_heard_when_it_is_ready(federation):
    assert {(node.organization, node.name) for node in HEARD} == {(name, NODE) for name in ORGANIZATIONS}


def test_a_certificate_of_an_authority_of_ones_own_is_refused(federation, tmp_path):
    forged = create_authority(tmp_path, "hospital-1").issue(tmp_path, "client", hosts=LOCAL_HOSTS)
    layout = Layout(federation.running.certificate_folder)
    as_peer = Certificates(layout.peers, forged.certificate, forged.key)
    with pytest.raises(httpx.TransportError):
        status_of(f"{federation.places.store_url('hospital-1')}/models/x", as_peer)
    as_client = Certificates(layout.server.authority, forged.certificate, forged.key)
    with (
        Client(federation.running.address, "hospital-1", federation.channel, as_client) as client,
        pytest.raises(CallError) as refused,
    ):
        client.info.QueryVersion(pb.QueryVersionParam())
    assert refused.value.lost


def test_a_folder_has_one_federation_at_a_time(federation):
    with (
        pytest.raises(FolderTakenError, match=f"process {os.getpid()}, .*`orchestrator down"),
        Federation(federation.folder, ORGANIZATIONS),
    ):
        pytest.fail("a second federation started")
    assert running.read(federation.folder) is not None
    federation.check()


def worker_of(up: psutil.Process, organization: str) -> psutil.Process | None:
    for child in up.children():
        with suppress(psutil.NoSuchProcess):
            if child.cmdline()[-3:] == ["worker", "--org", organization]:
                return child
    return None


def check_revived(up: psutil.Process, said: Callable[[], str]) -> None:
    """Check that a worker that is killed is started again."""
    first = worker_of(up, "hospital-1")
    assert first is not None
    first.kill()

    def again() -> bool:
        found = worker_of(up, "hospital-1")
        return found is not None and found.pid != first.pid

    wait_until(again, 30, "a worker")
    told = "worker-hospital-1 was killed by SIGKILL; it is started again in 0.5 s"
    assert told in " ".join(said().split())


def test_up_looks_after_its_federation_is_found_again_and_ended_from_elsewhere(open_folder, gone):
    folder = open_folder / "data"
    up_one = ("up", "--orgs", "1", "--data", str(folder))
    port = free_range(5)
    with up_logged(open_folder / "first.log", *up_one, "--port", str(port)) as (up, said):
        first = until_ready(folder, up)
        assert first.address == f"127.0.0.1:{port}"
        assert first.http_address == f"127.0.0.1:{port + 1}"
        assert first.stores["hospital-1"] == f"https://127.0.0.1:{port + 3}"
        # What it tells people to try, as it stands there.
        told = wait_until(
            lambda: re.search(r"^Try in another terminal, in this folder: orchestrator (.*)\n", said(), re.MULTILINE),
            60,
            "advice",
        )
        with command(*shlex.split(told[1])) as tried:
            assert "plan" in tried.communicate(timeout=START_SECONDS)[0]
            assert tried.returncode == 0
        assert first.flower in said()
        (metrics,) = re.findall(r"^metrics +(\S+)", said(), re.MULTILINE)
        assert "orchestrator_database_reachable 1.0" in httpx.get(metrics, trust_env=False, timeout=60).text
        check_revived(psutil.Process(up.pid), said)
        # A federation that is killed leaves no process, and all its data.
        family = family_of(up.pid)
        up.kill()
        gone(family)
        assert len(family) > 10
        assert "Traceback" not in said()
    assert running.read(folder) is None
    assert holder_of(folder) is None
    elsewhere = {"ARGO_WORKFLOWS_API_HOST": "http://argo.example:2746", "KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092"}
    with up_logged(open_folder / "second.log", *up_one, "--executions", **elsewhere) as (up, said):
        again = until_ready(folder, up)
        for each in (r"argo_workflows +http://argo\.example:2746 *\n", r"Kafka +kafka\.example:9092 *\n"):
            wait_until(lambda told=each: re.search(told, said()), 60, "what runs executions to be told")
        commands = {" ".join(each.cmdline()): each for each in family_of(up.pid)}
        assert not any("tansu" in words for words in commands)
        (runtime,) = (each for words, each in commands.items() if " -m orchestrator runtime" in words)
        given = runtime.environ()
        assert {name: given[f"ORCHESTRATOR_{name}"] for name in elsewhere} == elsewhere
        # Addresses of assets that were registered hold on, and so do all that people know.
        assert again.stores == first.stores
        assert (again.address, again.http_address) == (first.address, first.http_address)
        assert urlsplit(again.flower).port == port + 2
        with Client(again.address, "hospital-1", again.channel, again.certificates("hospital-1")) as client:
            known = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()).organizations
        assert [organization.id for organization in known] == list(ORGANIZATIONS)
        family = family_of(up.pid)
        with command("down", "--destroy", "--data", str(folder)) as down:
            told = f"the federation in {folder} has ended\n{folder} is removed\n"
            assert down.communicate(timeout=START_SECONDS)[0] == told
            assert down.returncode == 0
        assert up.wait(START_SECONDS) == 130
        assert "Traceback" not in said()
        assert said().endswith("\nEnding everything\nEverything has ended\n")
    assert not folder.exists()
    assert not [process for process in family if lives(process)]
    assert running.read(folder) is None
    for address in (again.address, again.http_address, *(urlsplit(url).netloc for url in again.stores.values())):
        host, _, port = address.rpartition(":")
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, int(port)))
    with command("down", "--data", str(folder)) as down:
        assert "no federation runs" in down.communicate(timeout=START_SECONDS)[0]
        assert down.returncode == 1
    with command("down", "--destroy", "--data", str(folder)) as down:
        down.communicate(timeout=START_SECONDS)
        assert down.returncode == 0
    assert not folder.exists()


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]], ids=len)
def test_a_start_that_is_interrupted_leaves_nothing(open_folder, gone, numbers):
    folder = open_folder / "data"
    with command("demo", "--data", str(folder)) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("Starting the database")
        assert demo.stdout.readline().startswith("Starting the orchestrator")
        family = wait_until(lambda: family_of(demo.pid), START_SECONDS)
        # It stands still meanwhile, so that they come at once.
        for number in (signal.SIGSTOP, *numbers, signal.SIGCONT):
            demo.send_signal(number)
        output, _ = demo.communicate(timeout=START_SECONDS)
        gone(family)
    assert demo.returncode == 130
    # A line that the signal came amid is written again.
    assert output.endswith("Ending everything\nEverything has ended\n")
    assert "Traceback" not in output
    assert [path.name for path in folder.iterdir()] == ["federation.lock"]


@pytest.mark.parametrize("words", [["up"], ["down", "--destroy"]])
def test_a_folder_of_others_stays_as_it_is(tmp_path, words):
    (tmp_path / "thesis.tex").write_text("years of work")
    with command(*words, "--data", str(tmp_path)) as refused:
        output, _ = refused.communicate(timeout=START_SECONDS)
    assert refused.returncode == 1
    assert output.startswith(f"Error: {tmp_path} ")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_port_of_problems_that_is_taken_is_told_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with command("up", "--problems", "--problems-port", port, "--data", str(tmp_path / "data")) as refused:
            output, _ = refused.communicate(timeout=START_SECONDS)
    assert refused.returncode == 1
    taken = f"Error: port {port} is taken by another program: end that, or give another --problems-port\n"
    assert output.startswith(taken)
    assert not (tmp_path / "data").exists()
