"""Attacks on identity: one organization tries to act for another, over mutual TLS, with nothing but its own files.

org-1, org-2 and org-3 are those of `tests/kit/forged.py`; org-4 has an authority whose certificates are revoked, denied
and renewed while its connections stand.
"""

import asyncio
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import psycopg
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from google.protobuf.message import Message
from prometheus_client.parser import text_string_to_metric_families

from orchestrator import protos as pb
from orchestrator.calls.gate import VISIT_SECONDS
from orchestrator.client import AsyncClient, CallError, Certificates, Client
from orchestrator.embedded.postgres import Postgres
from tests.attacks.installation import CHANNEL, SECRET, Installation, Stream, ask, running
from tests.kit import commands
from tests.kit.forged import LEAF, LIMITED, NO_SKI, OF_OTHERS, PAST_LIMITS, A, B, Forged, between
from tests.kit.issuing import NOW, Issued, authority, client, new_key, revocation_list, sign, subject
from tests.kit.messages import new_key as new_uuid
from tests.kit.messages import new_plan
from tests.kit.proxy import Proxy
from tests.kit.transports import connect
from tests.kit.waiting import wait_until

ORGANIZATIONS = ("org-1", "org-2", "org-3", "org-4")
D = authority("org-4", days=400)
# Most are refused in the TLS handshake already; what stands behind it is attacked in `tests/unit/test_identity.py`.
REFUSED = ("PERMISSION_DENIED OE0102", "UNAVAILABLE")


@pytest.fixture(scope="module")
def network(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    database = postgres.create_database(f"attacks_{new_uuid().replace('-', '')}")
    folder = tmp_path_factory.mktemp("identity")
    with running(folder, database, dict(zip(ORGANIZATIONS, (A, B, LIMITED, D), strict=True))) as network:
        for organization, issuer in (("org-1", A), ("org-4", D)):
            with Client(
                network.address, organization, CHANNEL, network.save("first", client(issuer, organization))
            ) as c:
                c.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
        yield network


@pytest.mark.parametrize("forged", OF_OTHERS.values(), ids=OF_OTHERS)
def test_nobody_acts_for_another_organization(network: Installation, forged: Forged):
    files = network.save("forged", forged.leaf, forged.chain)
    assert network.call(files, "org-1").startswith(REFUSED)
    assert network.read(files) in (0, 401)


def test_honest_certificates_are_let_in_directly_and_through_intermediates(network: Installation):
    for name, leaf in (("direct", LEAF), ("between", client(between(A, None), "org-1", identifier=b"whatever"))):
        files = network.save(name, leaf)
        assert network.call(files, "org-1") == "ok"
        assert network.read(files) == 200
        assert network.call(files, "org-2").startswith("PERMISSION_DENIED OE0102")
    both = network.save("both", client(NO_SKI, "org-1", "org-2", identifier=A.identifier))
    assert network.call(both, "org-2") == "ok"
    assert network.call(both, "org-1").startswith("PERMISSION_DENIED OE0102")
    assert network.read(both) == 404


@pytest.mark.parametrize("forged", PAST_LIMITS.values(), ids=PAST_LIMITS)
def test_the_limits_of_an_authority_are_kept(network: Installation, forged: Forged):
    files = network.save("limited", forged.leaf)
    assert network.call(files, "org-3").startswith(REFUSED)
    assert network.read(files) in (0, 401)


def test_a_second_organization_with_the_authority_of_another_is_not_let_in(network: Installation):
    """Whose authority copies the key identifier of org-1: the server and the store go on with what they know."""
    twin = authority("org-5", identifier=A.identifier)
    crl = network.authorities("org-1") / "revoked.crl"
    network.trust("org-5", twin)
    try:
        files = network.save("twin", client(twin, "org-1", identifier=A.identifier))
        wait_until(
            lambda: "authorities of org-1 and org-5 have the same Subject Key Identifier" in network.log, 60, "the line"
        )
        assert network.call(files, "org-1").startswith(REFUSED)
        assert network.read(files) in (0, 401)
        assert network.call(network.save("honest", LEAF), "org-1") == "ok"
        # Nor does it hold up what others revoke.
        leaf = client(A, "org-1")
        revoked = network.save("revoked", leaf)
        assert network.call(revoked, "org-1") == "ok"
        crl.write_bytes(revocation_list(A, leaf))
        wait_until(lambda: network.call(revoked, "org-1").startswith(REFUSED), 60, "the certificate to be refused")
        assert network.read(revoked) in (0, 401)
        assert "authorities of org-1 and org-5 have the same Subject Key Identifier" in network.start_another()
    finally:
        crl.unlink(missing_ok=True)
        shutil.rmtree(network.authorities("org-5"))


@pytest.fixture
def standing(network: Installation) -> Iterator[tuple[Issued, Client, Stream, httpx.Client, Client]]:
    """A certificate of org-4 with a connection, a stream and a connection to the store; and another connection."""
    leaf = client(authority("org-4", D), "org-4")
    files, others = network.save("standing", leaf), network.save("other", client(D, "org-4"))
    with (
        Client(network.address, "org-4", CHANNEL, files) as one,
        Client(network.address, "org-4", CHANNEL, others) as other,
        network.peer(files) as peer,
    ):
        assert ask(one) == ask(other) == "ok"
        assert peer.get(SECRET).status_code == 404
        yield leaf, one, Stream(one), peer, other
        (network.authorities("org-4") / "revoked.crl").unlink(missing_ok=True)
        network.deny_list.write_text("serials: {}\n")
        wait_until(lambda: ask(one) == "ok", 60, "the connection to be good again")


def by_list(network: Installation, leaf: Issued) -> None:
    assert leaf.issuer
    (network.authorities("org-4") / "revoked.crl").write_bytes(revocation_list(leaf.issuer, leaf))


def by_list_of_the_root(network: Installation, leaf: Issued) -> None:
    assert leaf.issuer
    (network.authorities("org-4") / "revoked.crl").write_bytes(revocation_list(D, leaf.issuer))


def by_serial(network: Installation, leaf: Issued) -> None:
    network.deny_list.write_text(yaml.safe_dump({"serials": {"org-4": [leaf.serial]}}))


def by_authority(network: Installation, leaf: Issued) -> None:
    assert leaf.issuer
    fingerprint = leaf.issuer.certificate.fingerprint(hashes.SHA256()).hex(":")
    network.deny_list.write_text(yaml.safe_dump({"authorities": [fingerprint]}))


@pytest.mark.parametrize("revoke", [by_list, by_list_of_the_root, by_serial, by_authority])
def test_a_revocation_ends_what_stands(
    network: Installation,
    standing: tuple[Issued, Client, Stream, httpx.Client, Client],
    revoke: Callable[[Installation, Issued], None],
):
    leaf, one, stream, peer, other = standing
    revoke(network, leaf)
    wait_until(lambda: ask(one).startswith("PERMISSION_DENIED OE0102"), 60, "the call to be refused")
    wait_until(lambda: stream.end.startswith("PERMISSION_DENIED OE0102"), 60, "the stream to end")
    wait_until(lambda: peer.get(SECRET).status_code == 401, 60, "the store to refuse")
    assert ask(other) == "ok"


def test_what_leaves_a_channel_ends_what_stands_in_it(
    network: Installation, standing: tuple[Issued, Client, Stream, httpx.Client, Client]
):
    _, one, stream, _, other = standing
    # A bad file changes nothing, and is told once, with its line.
    network.channels.write_text("channels:\n  channel: [org-1, 0123]\n")
    wait_until(lambda: "channels.not_reloaded" in network.log, 60, "the line")
    assert "channels.yaml, line 2: text is expected here" in network.log
    assert ask(one) == "ok"
    network.write_channels("org-1", "org-2", "org-3")
    try:
        wait_until(lambda: ask(one).startswith("PERMISSION_DENIED OE0102"), 60, "the call to be refused")
        wait_until(lambda: stream.end.startswith("PERMISSION_DENIED OE0102"), 60, "the stream to end")
        assert ask(other).startswith("PERMISSION_DENIED OE0102")
    finally:
        network.write_channels(*ORGANIZATIONS)
    wait_until(lambda: ask(other) == "ok", 60, "org-4 to be in the channel again")
    assert network.log.count("channels.not_reloaded") == 1


class Held:
    """A call of org-4 that was let in, and of which something is held back.

    Args:
        transport: a connection of org-4.
        path: of the method.
        parts: of the request.
        first: how many of them are sent at once.
    """

    def __init__(self, transport: grpc.Channel, path: str, *parts: Message, first: int = 0) -> None:
        self._let_go = threading.Event()
        self._parts = [part.SerializeToString() for part in parts]
        self._first = first
        metadata = (("mspid", "org-4"), ("channel", CHANNEL))
        # A call with one message is, on the wire, one whose request comes in parts.
        self._call = transport.stream_unary(path).future(self._sent(), timeout=60, metadata=metadata)

    def _sent(self) -> Iterator[bytes]:
        yield from self._parts[: self._first]
        assert self._let_go.wait(60)
        yield from self._parts[self._first :]

    def end(self) -> str:
        """Let it go on, and return how it ended."""
        self._let_go.set()
        error = self._call.exception(60)
        return "ok" if error is None else f"{error.code().name} {error.details()}"


REGISTER, SUBMIT = "/orchestrator.ComputePlanService/RegisterPlan", "/orchestrator.SubmissionService/SubmitPlan"


def test_a_call_that_takes_its_time_is_let_in_again(network: Installation):
    """Whether its one message is late, or one of its parts."""
    plans = [new_plan() for _ in range(4)]
    files = network.save("held", client(D, "org-4"))

    def begun(whole: pb.NewComputePlan, parted: pb.NewComputePlan) -> list[Held]:
        parts = pb.SubmitPlanParam(head=pb.PlanHead(plan=parted)), pb.SubmitPlanParam()
        calls = [Held(transport, REGISTER, whole), Held(transport, SUBMIT, *parts, first=1)]
        # What comes later by the same connection is looked at later. Of workers: the others' turns are taken.
        last = Held(transport, "/orchestrator.WorkerService/Heartbeat", pb.HeartbeatParam(node="node"), first=1)
        assert last.end() == "ok"
        return calls

    def take_their_time() -> None:
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() - begin > VISIT_SECONDS, 60, "the end of the visit")

    with (
        connect(network.address, files.credentials()) as transport,
        Client(network.address, "org-4", CHANNEL, files) as one,
    ):
        kept = begun(*plans[:2])
        take_their_time()
        assert [call.end() for call in kept] == ["ok"] * 2
        late = begun(*plans[2:])
        network.write_channels("org-1", "org-2", "org-3")
        try:
            take_their_time()
            wait_until(lambda: ask(one).startswith("PERMISSION_DENIED OE0102"), 60, "the call to be refused")
            assert {call.end()[:24] for call in late} == {"PERMISSION_DENIED OE0102"}
        finally:
            network.write_channels(*ORGANIZATIONS)
        wait_until(lambda: ask(one) == "ok", 60, "org-4 to be in the channel again")
        known = {plan.key for plan in one.plans.QueryPlans(pb.QueryPlansParam(page_size=1000)).plans}
        assert [plan.key in known for plan in plans] == [True] * 2 + [False] * 2


def test_a_call_that_is_held_up_is_let_in_again(network: Installation):
    """As long as others have locked what it needs."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    files = network.save("held", client(D, "org-4"))
    with (
        connect(network.address, files.credentials()) as transport,
        psycopg.connect(network.settings["ORCHESTRATOR_DATABASE_URL"]) as holder,
    ):
        holder.execute("LOCK TABLE compute_plans IN ACCESS EXCLUSIVE MODE")
        call = Held(transport, REGISTER, new_plan(), first=1)
        wait_until(lambda: holder.execute(waits).fetchone() != (0,), 60, "the call to be held up")
        network.write_channels("org-1", "org-2", "org-3")
        try:
            assert call.end()[:24] == "PERMISSION_DENIED OE0102"
        finally:
            network.write_channels(*ORGANIZATIONS)
    wait_until(lambda: network.call(files, "org-4") == "ok", 60, "org-4 to be in the channel again")


def test_files_that_cannot_be_used_change_nothing(
    network: Installation, standing: tuple[Issued, Client, Stream, httpx.Client, Client]
):
    leaf, one, stream, _, _ = standing
    by_list(network, leaf)
    wait_until(lambda: ask(one).startswith("PERMISSION_DENIED"), 60, "the call to be refused")
    said = network.log.count("certificates.not_reloaded")
    forged = Issued(D.certificate, new_key(), None)
    (network.authorities("org-4") / "revoked.crl").write_bytes(revocation_list(forged))
    wait_until(lambda: network.log.count("certificates.not_reloaded") == said + 1, 60, "the line")
    assert "org-4/revoked.crl holds a revocation list that cannot be used: it is not signed" in network.log
    assert ask(one).startswith("PERMISSION_DENIED")
    assert stream.end.startswith("PERMISSION_DENIED")


def test_a_certificate_that_ends_ends_what_stands(network: Installation):
    """But who renewed it in time watches on."""
    leaf = client(D, "org-4", days=(datetime.now(UTC) + timedelta(seconds=10) - NOW) / timedelta(days=1))
    files, renewed = network.save("short", leaf), network.save("watching", leaf)
    with (
        Client(network.address, "org-4", CHANNEL, files) as one,
        Client(network.address, "org-4", CHANNEL, renewed) as watcher,
        network.peer(files) as peer,
    ):
        plan = watcher.plans.RegisterPlan(new_plan()).key
        seen: list[str] = []
        watching = threading.Thread(target=lambda: seen.extend(event.id for event in watcher.watch(plan)), daemon=True)
        watching.start()
        assert ask(one) == "ok"
        assert peer.get(SECRET).status_code == 404
        stream = Stream(one)
        network.save("watching", client(D, "org-4"))
        # Asked all the time: the store lets go of connections that are idle.
        wait_until(lambda: peer.get(SECRET).status_code == 401, 60, "the store to refuse", 0.5)
        wait_until(lambda: ask(one).startswith("PERMISSION_DENIED OE0102"), 60, "the call to be refused")
        wait_until(lambda: stream.end.startswith("PERMISSION_DENIED OE0102"), 60, "the stream to end")
        assert watching.is_alive()
        watcher.cancel(plan)
        watching.join(60)
        assert len(seen) == 2


def test_a_client_and_a_store_take_renewed_files(network: Installation):
    """The authority of org-4 is replaced by another, with all that it issued, and connections break."""
    files = network.save("renewed", client(D, "org-4"))
    port = int(network.address.rpartition(":")[2])
    new = authority("org-4")
    with (
        Proxy(port) as proxy,
        Client(f"127.0.0.1:{proxy.port}", "org-4", CHANNEL, files) as worker,
        asyncio.Runner() as runner,
    ):
        sdk = runner.run(made(f"127.0.0.1:{proxy.port}", files))
        assert ask(worker) == runner.run(asked(sdk)) == "ok"
        old = network.save("old", client(D, "org-4"))
        network.trust("org-4", new)
        try:
            network.save("renewed", client(new, "org-4"))
            proxy.sever()
            wait_until(lambda: ask(worker) == "ok", 60, "the worker to be let in with its new certificate")
            wait_until(lambda: runner.run(asked(sdk)) == "ok", 60, "the SDK's asyncio client to be let in")
            assert network.read(files) == 404
            assert network.call(old, "org-4").startswith(REFUSED)
            assert network.read(old) in (0, 401)
        finally:
            network.trust("org-4", D)
            runner.run(sdk.close())


async def made(address: str, files: Certificates) -> AsyncClient:
    return AsyncClient(address, "org-4", CHANNEL, files, timeout=30)


async def asked(client: AsyncClient) -> str:
    try:
        await client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    except CallError as error:
        return str(error)
    return "ok"


def test_what_ends_soon_is_told(network: Installation):
    """By `/metrics` and by `node list`."""
    for name, days in (("soon", 12.5), ("later", 100)):
        issuer = authority("org-4", D, days=200)
        with Client(
            network.address, "org-4", CHANNEL, network.save(name, client(issuer, "org-4", days=days))
        ) as worker:
            worker.worker.Heartbeat(pb.HeartbeatParam(node=name))
    files = network.save("reader", LEAF)
    options = ("--address", network.address, "--org", "org-1", "--channel", CHANNEL, "--ca-cert", str(files.authority))
    told = commands.run("node", *options, "--cert", str(files.certificate), "--key", str(files.key), "list")
    assert told.returncode == 0, told.stderr
    assert "the certificate of soon of org-4 ends in 12 d: renew it" in told.stdout
    assert "certificate of later" not in told.stdout
    metrics = httpx.get(f"http://{network.http}/metrics", trust_env=False, timeout=60).text
    found = {
        (sample.name, sample.labels.get("organization"), sample.labels.get("node")): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    day = 86_400
    assert 12 * day < found["orchestrator_node_certificate_seconds", "org-4", "soon"] < 12.6 * day
    # All in the test live for 30 days, but the server's own.
    assert 29 * day < found["orchestrator_authority_certificate_seconds", "org-1", None] < 30 * day
    assert 300 * day < found["orchestrator_server_certificate_seconds", None, None] < 366 * day


def shown(network: Installation) -> str:
    """The serial number of the certificate that the store shows to a new connection."""
    host, _, port = network.store.removeprefix("https://").rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), 60) as plain,
        context.wrap_socket(plain) as connection,
    ):
        certificate = connection.getpeercert(binary_form=True)
    assert certificate
    return f"{x509.load_der_x509_certificate(certificate).serial_number:x}"


def test_a_store_shows_its_renewed_certificate_and_none_that_is_half_there(network: Installation):
    files = network.layout.store("org-1")
    before, kept = shown(network), (files.certificate.read_bytes(), files.key.read_bytes())
    san = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    renewed = sign(A, subject(["org-1"], "store"), [(san, False)])
    try:
        files.key.write_bytes(renewed.private)
        assert shown(network) == before
        files.certificate.write_bytes(renewed.pem)
        assert shown(network) == renewed.serial
    finally:
        files.certificate.write_bytes(kept[0])
        files.key.write_bytes(kept[1])
    assert shown(network) == before


@pytest.mark.parametrize(
    ("key", "name"),
    [(ed25519.Ed25519PrivateKey.generate(), "Ed25519"), (ec.generate_private_key(ec.SECP521R1()), "P-521")],
)
def test_a_server_key_that_nobody_could_connect_to_is_not_taken(network: Installation, key: object, name: str):
    files = network.layout.server
    kept = (files.certificate.read_bytes(), files.key.read_bytes())
    bad = sign(A, subject(["orchestrator"], "server"), [], key=key)
    honest = network.save("honest", LEAF)
    try:
        files.certificate.write_bytes(bad.pem)
        files.key.write_bytes(bad.private)
        wait_until(lambda: f"gRPC cannot serve with a key that is {name}" in network.log, 60, "the line")
        assert network.call(honest, "org-1") == "ok"
        if name == "Ed25519":
            assert f"cannot be used: gRPC cannot serve with a key that is {name}" in network.start_another()
    finally:
        files.certificate.write_bytes(kept[0])
        files.key.write_bytes(kept[1])
    assert network.call(honest, "org-1") == "ok"
