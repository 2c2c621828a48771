"""The system calls that a function in its sandbox may not make: a filter for seccomp, as bubblewrap takes it.

Namespaces do not part everything: keyrings belong to the user and the session, and some calls reach parts of the kernel
that no training needs. The program is classic BPF (Linux, `Documentation/userspace-api/seccomp_filter.rst`); a call
that is refused fails with EPERM.
"""

import platform
import struct
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple


class _Machine(NamedTuple):
    """A kind of machine: the kernel's number for it, the refused calls, and those whose first argument is looked at."""

    audit: int
    refused: tuple[int, ...]
    socket: int
    prctl: int


# add_key, request_key, keyctl; io_uring_*; userfaultfd, bpf, perf_event_open; kexec_*; open_by_handle_at.
_MACHINES: Mapping[str, _Machine] = {
    "x86_64": _Machine(0xC000003E, (248, 249, 250, 425, 426, 427, 323, 321, 298, 246, 320, 304), 41, 157),
    "aarch64": _Machine(0xC00000B7, (217, 218, 219, 425, 426, 427, 282, 280, 241, 104, 294, 265), 198, 167),
}
# Sockets to the kernel's cryptography, and to the machine below a virtual one, which has no namespace.
_AF_ALG, _AF_VSOCK = 38, 40
# Whose memory cannot be looked into can hide what it keeps.
_PR_SET_DUMPABLE = 4
# x86-64 has a second table of calls from this number on.
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _AUDIT, _FIRST = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001


@cache
def program(machine: str = platform.machine()) -> bytes:
    """Return the filter for a kind of machine; nothing for one whose calls are not known here."""
    if machine not in _MACHINES:
        return b""
    kind = _MACHINES[machine]
    looked_at = {kind.socket: (_AF_ALG, _AF_VSOCK), kind.prctl: (_PR_SET_DUMPABLE,)}
    # Each test is (code, operand, where to if so, where to else); a label is resolved to a distance at the end.
    lines: list[tuple[int, int, str, str] | str] = [
        (_LOAD, _AUDIT, "", ""),
        (_EQUAL, kind.audit, "", "refuse"),
        (_LOAD, _NUMBER, "", ""),
        (_AT_LEAST, _X32, "refuse", ""),
        *((_EQUAL, number, "refuse", "") for number in kind.refused),
        *((_EQUAL, number, str(number), "") for number in looked_at),
        (_RETURN, _ALLOW, "", ""),
    ]
    for number, values in looked_at.items():
        lines += [str(number), (_LOAD, _FIRST, "", ""), *((_EQUAL, value, "refuse", "") for value in values)]
        lines.append((_RETURN, _ALLOW, "", ""))
    lines += ["refuse", (_RETURN, _REFUSE, "", "")]
    return _assembled(lines)


def _assembled(lines: list[tuple[int, int, str, str] | str]) -> bytes:
    labels: dict[str, int] = {}
    code: list[tuple[int, int, str, str]] = []
    for line in lines:
        if isinstance(line, str):
            labels[line] = len(code)
        else:
            code.append(line)

    def distance(label: str, place: int) -> int:
        return labels[label] - place - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", operation, distance(then, place), distance(otherwise, place), operand)
        for place, (operation, operand, then, otherwise) in enumerate(code)
    )
