"""Free TCP ports of 127.0.0.1, each ours alone until this process ends."""

import random
import socket
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"

_LOWEST, _HIGHEST = 10_240, 65_535
_ATTEMPTS = 1_000
_handed_out: set[int] = set()


def free_port(preferred: int | None = None) -> int:
    """Return a port that nothing on this machine uses, and that no other call returns, here or elsewhere.

    The port stays reserved until this process ends, so a server may be restarted on it. The reservation is a
    socket that is bound but does not listen: the kernel refuses the port to others, except to servers that
    set SO_REUSEADDR before they bind, as all usual ones do (gRPC, asyncio, uvicorn, Postgres, Valkey, Flower).
    Where the kernel does not allow such a neighbour (macOS), the port is tested but not reserved.

    Args:
        preferred: returned if it is free.

    Raises:
        OSError: no free port was found.
    """
    low, high = _ephemeral_range()
    # An outgoing connection takes its port from the ephemeral range at any moment: stay outside.
    outside = [*range(_LOWEST, min(low, _HIGHEST)), *range(max(high + 1, _LOWEST), _HIGHEST + 1)]
    # Where that range is everything, there is no outside.
    candidates: Sequence[int] = outside or range(_LOWEST, _HIGHEST + 1)
    # Chance is here for spreading, not for secrecy.
    for attempt in range(_ATTEMPTS):
        port = preferred if preferred is not None and not attempt else random.choice(candidates)  # noqa: S311
        # A server of ours that has just ended leaves connections, which the kernel keeps for a minute.
        if port not in _handed_out and (_reserve(port) or (port == preferred and _reserve(port, lingering=True))):
            _handed_out.add(port)
            return port
    raise OSError(f"no free port on {HOST} after {_ATTEMPTS} attempts; end some servers of this machine")


def _reserve(port: int, lingering: bool = False) -> bool:
    reservation = socket.socket()
    if lingering:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        # Without SO_REUSEADDR: fails if anyone uses or reserved the port, so test and reservation are one.
        reservation.bind((HOST, port))
    except OSError:
        reservation.close()
        return False
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        reservation.close()
    else:
        reservation.detach()  # the kernel closes it when the process ends
    return True


def _ephemeral_range() -> tuple[int, int]:
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except FileNotFoundError:
        return 32_768, _HIGHEST  # both Linux's default and that of the BSDs and macOS lie within
    return int(low), int(high)
