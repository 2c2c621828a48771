"""Whether the processes of a federation are ready, asked the way their users will reach them."""

import http.client
import socket
from base64 import b64encode
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import grpc
from celery import Celery

from orchestrator import protos as pb
from orchestrator.broker import monitor
from orchestrator.client import Certificates, Client
from orchestrator.core import pokes
from orchestrator.embedded.ports import HOST
from orchestrator.files.tls import calling_context

_SECONDS = 0.5


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections to a port of this machine."""
    try:
        socket.create_connection((HOST, port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True


def serves_grpc(port: int, organization: str, channel: str, certificates: Certificates) -> bool:
    """Tell whether the orchestrator answers an organization in a channel, over mutual TLS.

    Raises:
        grpc.RpcError: it refuses the organization.
    """
    if not listens(port):
        return False  # gRPC would wait a second or more before it tries again
    with Client(f"{HOST}:{port}", organization, channel, certificates, timeout=2.0) as client:
        try:
            client.info.QueryVersion(pb.QueryVersionParam())
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return False
            raise
    return True


def is_heard(client: Client, organization: str, node: str) -> bool:
    """Tell whether the orchestrator has heard a node since a short time.

    Args:
        client: any of the channel.
        organization: whose node.
        node: its name.

    Raises:
        CallError: the orchestrator does not answer.
    """
    answer = client.worker.GetNodes(pb.GetNodesParam())
    return any(
        (found.organization, found.name) == (organization, node)
        and answer.now.ToDatetime() - found.last_heartbeat.ToDatetime() < answer.lease.ToTimedelta()
        for found in answer.nodes
    )


def serves_https(port: int, certificates: Certificates) -> bool:
    """Tell whether an asset store speaks TLS with a peer."""
    context = calling_context(certificates.authority, certificates.certificate, certificates.key)
    try:
        with (
            socket.create_connection((HOST, port), timeout=_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=HOST),
        ):
            return True
    except (ConnectionError, TimeoutError):
        return False


def shows_flower(port: int, credentials: str) -> bool:
    """Tell whether Flower shows its page to somebody with user:password."""
    return _get_flower(port, credentials, "/workers", timeout=2.0) == http.client.OK


def inspect_workers(port: int, credentials: str) -> None:
    """Have Flower ask the workers about themselves, which it did at its own start only; takes a second."""
    _get_flower(port, credentials, "/api/workers?refresh=1", timeout=10.0)


def _get_flower(port: int, credentials: str, path: str, timeout: float) -> int | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        authorization = b64encode(credentials.encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {authorization}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Nodes:
    """The Celery workers on a broker, asked over it.

    Args:
        broker_url: with the password of somebody who may do all.
        organizations: whose workers, beside the maintenance worker.
    """

    def __init__(self, broker_url: str, organizations: Iterable[str]) -> None:
        self._app = Celery("readiness", set_as_current=False)
        accounts = [pokes.MAINTENANCE, *map(pokes.account, organizations)]
        self._app.conf.update(monitor.settings(broker_url, accounts))

    def answers(self, name: str) -> bool:
        """Tell whether a worker consumes.

        Args:
            name: its node name, as in `hospital-1@node-1`.
        """
        return bool(self._app.control.ping(destination=[name], limit=1, timeout=_SECONDS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.close()
