"""A name server for one name with several addresses of this machine, as in front of several servers."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence

_A, _IN = 1, 1
_ANSWER, _AUTHORITATIVE = 0x8000, 0x0400


@contextlib.contextmanager
def naming(name: str, addresses: Sequence[str]) -> Iterator[str]:
    """Answer for a name as long as the block runs.

    Args:
        name: whose addresses are asked for; no other is known.
        addresses: of IPv4.

    Returns:
        host:port of the name server; `dns://<that>/<name>:<port>` has gRPC ask it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer, args=(udp, name, addresses), daemon=True)
        thread.start()
        try:
            host, port = udp.getsockname()
            yield f"{host}:{port}"
        finally:
            udp.sendto(b"", udp.getsockname())
            thread.join(60)


def _answer(udp: socket.socket, name: str, addresses: Sequence[str]) -> None:
    while asked := udp.recvfrom(4096):
        packet, caller = asked
        if not packet:
            return
        question, end = _question(packet)
        (kind,) = struct.unpack_from("!H", packet, end)
        known = question == name and kind == _A
        found = addresses if known else ()
        header = struct.pack(
            "!HHHHHH", *struct.unpack_from("!H", packet), _ANSWER | _AUTHORITATIVE, 1, len(found), 0, 0
        )
        # Each answer points back to the name in the question, which stands behind the header.
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, _A, _IN, 1, 4) + socket.inet_aton(address) for address in found
        )
        udp.sendto(header + packet[12 : end + 4] + records, caller)


def _question(packet: bytes) -> tuple[str, int]:
    """Return the name that is asked for, and where it ends."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1
