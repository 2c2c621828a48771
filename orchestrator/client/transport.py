"""How gRPC connects: how large a message may be, how soon a dead peer is noticed, and what is sent again."""

from typing import Any

from orchestrator.client.retrying import SERVICE_CONFIG
from orchestrator.core.fields import LARGEST_MESSAGE

_OPTIONS = (
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    # A watcher is silent for hours: only a ping tells it that the server's machine is gone.
    ("grpc.keepalive_time_ms", 60_000),
    # What was sent must be acknowledged in as long, too, or the connection is left.
    ("grpc.keepalive_timeout_ms", 8_000),
    # Two minutes by default: too long for nodes whose leases end soon after a server was restarted.
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


def options(proxy_from_environment: bool) -> tuple[tuple[str, Any], ...]:
    """Return how to connect.

    Args:
        proxy_from_environment: whether by the proxy that `https_proxy` and the like name, which a company sets for
            other programs.
    """
    return (*_OPTIONS, ("grpc.enable_http_proxy", int(proxy_from_environment)))
