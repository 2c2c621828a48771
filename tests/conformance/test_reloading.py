"""A server that runs follows its certificate files, and stops without breaking off what is under way."""

import shutil
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator import protos as pb
from orchestrator.client import CallError, Certificates, Client
from orchestrator.embedded.certificates import lay_out
from orchestrator.embedded.ports import free_port
from tests.kit.messages import new_key
from tests.kit.servers import server_process, serving, settings_for_tls
from tests.kit.transports import connect
from tests.kit.waiting import wait_until

CHANNELS = {"channel": ["org-1", "org-2"]}
CALLERS = 16
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


def test_calls_that_come_while_a_server_stops_are_told_to_come_again(postgres, tmp_path):
    url, address = postgres.create_database(f"stop_{new_key().replace('-', '')}"), f"127.0.0.1:{free_port()}"
    answered, metadata = Counter[object](), (("mspid", "org-1"), ("channel", "channel"))
    enough, over = threading.Barrier(CALLERS + 1), threading.Event()

    def call_again_and_again() -> None:
        # Each has a connection of its own, and sends nothing again by itself.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        with grpc.insecure_channel(address, options) as transport:
            ask = transport.unary_unary("/orchestrator.OrganizationService/GetAllOrganizations")
            ask(b"", timeout=60, metadata=metadata)
            enough.wait(60)
            while not over.is_set():
                call = ask.future(b"", timeout=60, metadata=metadata)
                answered[call.code()] += 1

    with server_process(tmp_path, url, CHANNELS, address) as server, ThreadPoolExecutor(CALLERS) as threads:
        calling = [threads.submit(call_again_and_again) for _ in range(CALLERS)]
        enough.wait(60)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        over.set()
        for each in calling:
            each.result(60)
    assert set(answered) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
