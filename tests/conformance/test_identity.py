"""Every call, with mutual TLS: a certificate speaks for the organizations that its authority may vouch for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator import protos as pb
from orchestrator.embedded.certificates import Layout, create_authority, lay_out
from orchestrator.embedded.postgres import Postgres
from tests.kit.messages import new_key, new_plan
from tests.kit.organization import ORGANIZATIONS, Organization, refuses
from tests.kit.servers import serving, settings_for_tls
from tests.kit.transports import TIMEOUT_SECONDS, Wire, connect

CHANNEL = "channel"


def credentials(trusted: Path, certificate: bytes | None = None, key: bytes | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(trusted.read_bytes(), key, certificate)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Certificates of three organizations; org-3 has a second authority."""
    root = tmp_path_factory.mktemp("tls")
    layout = lay_out(root, ORGANIZATIONS)
    second = create_authority(root / "second", "org-3")
    (layout.client_authorities / "org-3" / "second.crt").write_bytes(second.certificate_path.read_bytes())
    return layout


@pytest.fixture(scope="module")
def address(layout: Layout, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for certificates and checks them against the caller."""
    settings = {**settings_for_tls(layout), "ORCHESTRATOR_TLS_SERVER_CA_CERT": str(layout.server.authority)}
    database = postgres.create_database(f"identity_{new_key().replace('-', '')}")
    health = layout.client("org-1").credentials()
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, database, {CHANNEL: [*ORGANIZATIONS]}, settings, health) as address:
        yield address


def issue(
    folder: Path, organizations: list[str], identifier: x509.AuthorityKeyIdentifier | None
) -> tuple[bytes, bytes]:
    """Return a certificate and its key, signed by the authority in a folder.

    Args:
        folder: with ca.crt and ca.key.
        organizations: the O= values.
        identifier: the Authority Key Identifier; None leaves it out.
    """
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, "client")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
    if identifier is not None:
        builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def key_identifier(folder: Path) -> x509.AuthorityKeyIdentifier:
    """Return what a certificate of the authority in a folder bears as its Authority Key Identifier."""
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    subject = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)


def authority_of(layout: Layout, organization: str) -> Path:
    return layout.client(organization).certificate.parent


def caller(transport: grpc.Channel, name: str) -> Organization:
    return Organization(Wire(transport), name, CHANNEL)


def issued(layout: Layout, authority: str, *organizations: str) -> grpc.ChannelCredentials:
    """A certificate for some O= by the authority of an organization."""
    folder = authority_of(layout, authority)
    certificate, key = issue(folder, [*organizations], key_identifier(folder))
    return credentials(layout.server.authority, certificate, key)


@pytest.mark.parametrize("name", ORGANIZATIONS)
def test_an_organization_acts_for_itself_and_for_no_other(address: str, layout: Layout, name: str):
    with connect(address, layout.client(name).credentials()) as transport:
        assert caller(transport, name).register_plan().owner == name
        for other in {*ORGANIZATIONS} - {name}:
            impostor = caller(transport, other)
            for request in (new_plan(), pb.QueryPlansParam(), pb.QueryVersionParam()):
                with refuses("OE0102"):
                    impostor.send(request)
            with refuses("OE0102"):
                next(impostor.subscribe())


def test_metadata_is_asked_for_all_the_same(address: str, layout: Layout):
    with connect(address, layout.client("org-1").credentials()) as transport:
        call = pb.ComputePlanServiceStub(transport).RegisterPlan
        for metadata, code in (
            ([("channel", CHANNEL)], "OE0003"),
            ([("mspid", "org-1"), ("mspid", "org-1"), ("channel", CHANNEL)], "OE0003"),
            ([("mspid", "org-1")], "OE0102"),
            ([("mspid", "org-1"), ("channel", "unknown")], "OE0102"),
        ):
            with refuses(code):
                call(new_plan(), metadata=metadata, timeout=TIMEOUT_SECONDS)


def test_another_authority_does_not_vouch(address: str, layout: Layout):
    """O=org-1 by the authority of org-2 speaks neither for the one nor for the other."""
    with connect(address, issued(layout, "org-2", "org-1")) as transport:
        for name in ("org-1", "org-2"):
            with refuses("OE0102"):
                caller(transport, name).register_plan()
    with connect(address, issued(layout, "org-2", "org-2")) as transport:
        assert caller(transport, "org-2").register_plan().owner == "org-2"


def test_one_of_several_names_is_enough_where_the_authority_may_vouch(address: str, layout: Layout):
    with connect(address, issued(layout, "org-1", "org-2", "org-1")) as transport:
        assert caller(transport, "org-1").register_plan().owner == "org-1"
        with refuses("OE0102"):
            caller(transport, "org-2").register_plan()


@pytest.mark.parametrize("organizations", [[], ["ORG-1"], ["org-1 "], ["org-1,org-2"], ["org-11"]])
def test_a_similar_name_is_another_name(address: str, layout: Layout, organizations: list[str]):
    with connect(address, issued(layout, "org-1", *organizations)) as transport, refuses("OE0102"):
        caller(transport, "org-1").register_plan()


def test_a_certificate_without_an_authority_key_identifier_is_refused(address: str, layout: Layout):
    certificate, key = issue(authority_of(layout, "org-1"), ["org-1"], None)
    with connect(address, credentials(layout.server.authority, certificate, key)) as transport, refuses("OE0102"):
        caller(transport, "org-1").register_plan()


def test_every_authority_of_an_organization_vouches_for_it(address: str, layout: Layout):
    second = layout.root / "second"
    certificate, key = issue(second, ["org-3", "org-1"], key_identifier(second))
    with connect(address, credentials(layout.server.authority, certificate, key)) as transport:
        assert caller(transport, "org-3").register_plan().owner == "org-3"
        with refuses("OE0102"):
            caller(transport, "org-1").register_plan()


def check_no_entry(transport: grpc.Channel) -> None:
    """Check that there is no connection, or that nothing is allowed on it."""
    with pytest.raises(grpc.RpcError) as caught:
        caller(transport, "org-1").register_plan()
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED)


def test_a_forged_authority_key_identifier_opens_nothing(address: str, layout: Layout):
    forged = key_identifier(authority_of(layout, "org-1"))
    certificate, key = issue(authority_of(layout, "org-2"), ["org-1"], forged)
    with connect(address, credentials(layout.server.authority, certificate, key)) as transport:
        check_no_entry(transport)


def test_an_unknown_authority_opens_nothing(address: str, layout: Layout, tmp_path: Path):
    create_authority(tmp_path, "org-1")
    certificate, key = issue(tmp_path, ["org-1"], key_identifier(tmp_path))
    with connect(address, credentials(layout.server.authority, certificate, key)) as transport:
        check_no_entry(transport)


def test_no_certificate_opens_nothing(address: str, layout: Layout):
    with connect(address, credentials(layout.server.authority)) as transport:
        check_no_entry(transport)


def test_no_encryption_opens_nothing(address: str):
    with connect(address) as transport:
        check_no_entry(transport)


def test_health_needs_a_certificate_but_no_metadata(address: str, layout: Layout):
    with connect(address, layout.client("org-2").credentials()) as transport:
        health = health_pb2_grpc.HealthStub(transport)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
