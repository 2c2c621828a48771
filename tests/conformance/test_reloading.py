"""A server that runs follows its certificate files, and stops without breaking off what is under way."""

import shutil
import signal
import threading

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator import protos as pb
from orchestrator.client import CallError, Certificates, Client
from orchestrator.embedded.certificates import lay_out
from tests.kit.messages import new_key
from tests.kit.servers import serving, settings_for_tls
from tests.kit.transports import connect
from tests.kit.waiting import wait_until

CHANNELS = {"channel": ["org-1", "org-2"]}
ASKED = pb.GetAllOrganizationsParam()


@pytest.fixture
def layout(tmp_path):
    return lay_out(tmp_path / "tls", ["org-1", "org-2"])


def answers(address: str, files: Certificates) -> bool:
    """Tell whether a new connection with these files is let in."""
    with Client(address, "org-1", "channel", files, timeout=30) as client:
        try:
            client.organizations.GetAllOrganizations(ASKED)
        except CallError:
            return False
        return True


def test_certificates_are_followed_without_a_restart(layout, postgres, tmp_path):
    credentials = layout.client("org-1").credentials()
    url = postgres.create_database(f"reload_{new_key().replace('-', '')}")
    renewed = lay_out(tmp_path / "renewed", ["org-1", "org-2"])
    with serving(tmp_path, url, CHANNELS, settings_for_tls(layout), credentials) as address:
        assert answers(address, layout.client("org-1"))
        assert not answers(address, renewed.client("org-1"))
        # The key alone does not fit: the server goes on with what it has.
        shutil.copy(renewed.server.key, layout.server.key)
        assert answers(address, layout.client("org-1"))
        shutil.copy(renewed.server.certificate, layout.server.certificate)
        authority = layout.client_authorities / "org-1" / "ca.crt"
        shutil.copy(renewed.client_authorities / "org-1" / "ca.crt", authority)
        wait_until(lambda: answers(address, renewed.client("org-1")), message="the new certificates to be used")
        assert not answers(address, layout.client("org-1"))


def test_sigterm_ends_streams_with_unavailable_and_the_process_with_0(postgres, tmp_path):
    url = postgres.create_database(f"stop_{new_key().replace('-', '')}")
    with serving(tmp_path, url, CHANNELS) as address:
        (server,) = [
            process
            for process in psutil.Process().children()
            if process.cmdline()[-1] == "serve" and address in process.environ().get("ORCHESTRATOR_GRPC_ADDRESS", "")
        ]
        with connect(address) as transport, Client(address, "org-1", "channel") as client:
            watched = health_pb2_grpc.HealthStub(transport).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            ended: list[grpc.StatusCode] = []
            following = threading.Event()

            def subscribe() -> None:
                try:
                    for _ in client.events.SubscribeToEvents(pb.SubscribeToEventsParam()):
                        following.set()
                except grpc.RpcError as error:
                    ended.append(error.code())

            client.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
            subscriber = threading.Thread(target=subscribe)
            subscriber.start()
            assert following.wait(60)
            server.send_signal(signal.SIGTERM)
            statuses = []
            with pytest.raises(grpc.RpcError):
                statuses += [answer.status for answer in watched]
            subscriber.join(60)
        assert ended == [grpc.StatusCode.UNAVAILABLE]
        assert server.wait(60) == 0
    log = (tmp_path / "server.log").read_text()
    assert "server.stopped" in log
    assert "Traceback" not in log
