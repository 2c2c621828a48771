import socket
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from orchestrator.embedded.ports import HOST, free_port

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a port be reserved")


def test_no_port_is_handed_out_twice():
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50


@linux_only
def test_ports_lie_outside_the_range_of_outgoing_connections():
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if low <= 10_240 and high >= 65_535:
        pytest.skip("this kernel's range leaves nothing outside")

    assert not [port for port in (free_port() for _ in range(50)) if low <= port <= high]


@linux_only
def test_a_reserved_port_is_refused_to_others_until_our_end():
    program = "from orchestrator.embedded.ports import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        with socket.socket() as probe, pytest.raises(OSError, match="in use"):
            probe.bind((HOST, port))
        other.communicate("end\n", timeout=30)

    with socket.socket() as probe:
        probe.bind((HOST, port))


def test_a_server_can_be_started_on_it_and_again_after_connections():
    port = free_port()
    for _ in range(2):
        with (
            socket.create_server((HOST, port)) as server,
            socket.create_connection((HOST, port)) as client,
        ):
            connection, _address = server.accept()
            connection.close()  # the server's side closes first: TIME_WAIT stays on its port
            assert client.recv(1) == b""


def test_grpc_can_listen_on_it():
    port = free_port()
    server = grpc.server(futures.ThreadPoolExecutor(1))

    assert server.add_insecure_port(f"{HOST}:{port}") == port

    server.start()
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
    server.stop(0).wait()


def test_a_used_port_is_never_handed_out(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server((HOST, 0)) as server:
        used = server.getsockname()[1]
        monkeypatch.setattr("random.choice", lambda candidates: used)

        with pytest.raises(OSError, match="no free port on 127"):
            free_port()
