"""How a TCP connection notices that the other side has fallen silent: it stopped, or a firewall has forgotten it."""

import socket


def options(idle: int, interval: int, probes: int, unanswered: int) -> dict[int, int]:
    """Return options of a socket on the level IPPROTO_TCP, those that this system has; SO_KEEPALIVE is set beside.

    Args:
        idle: seconds without a packet, after which the other side is asked.
        interval: seconds between two such questions.
        probes: how many may stay without an answer.
        unanswered: seconds in which what was sent must be acknowledged.
    """
    wanted = {
        "TCP_KEEPIDLE": idle,
        "TCP_KEEPINTVL": interval,
        "TCP_KEEPCNT": probes,
        "TCP_USER_TIMEOUT": unanswered * 1000,
    }
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
