"""The filter of system calls: what it refuses, read as the kernel reads it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.executors import syscalls

ALLOW, REFUSE = 0x7FFF0000, 0x00050001
X86, ARM = 0xC000003E, 0xC00000B7


def verdict(program: bytes, audit: int, number: int, first: int = 0) -> int:
    """Return what a filter answers a call with, by the instructions that it is made of."""
    data = {0: number, 4: audit, 16: first & 0xFFFFFFFF}
    code = list(struct.iter_unpack("=HBBI", program))
    place = value = 0
    while True:
        operation, then, otherwise, operand = code[place]
        place += 1
        match operation:
            case 0x20:
                value = data[operand]
            case 0x15:
                place += then if value == operand else otherwise
            case 0x35:
                place += then if value >= operand else otherwise
            case 0x06:
                return operand


@pytest.mark.parametrize(
    ("machine", "audit", "keyctl", "socket", "prctl", "write"),
    [("x86_64", X86, 250, 41, 157, 1), ("aarch64", ARM, 219, 198, 167, 64)],
)
def test_keys_odd_sockets_and_hidden_memory_are_refused(
    machine: str, audit: int, keyctl: int, socket: int, prctl: int, write: int
):
    rules = syscalls.program(machine)
    assert verdict(rules, audit, keyctl) == REFUSE
    assert [verdict(rules, audit, socket, family) for family in (1, 2, 10, 16, 38, 40)] == [ALLOW] * 4 + [REFUSE] * 2
    assert [verdict(rules, audit, prctl, option) for option in (4, 15)] == [REFUSE, ALLOW]
    assert verdict(rules, audit, write) == ALLOW


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_calls_of_another_kind_of_machine_are_all_refused(audit: int, number: int, first: int):
    rules = syscalls.program("x86_64")
    answer = verdict(rules, audit, number, first)
    assert answer in (ALLOW, REFUSE)
    if audit != X86 or number >= 0x40000000:
        assert answer == REFUSE


def test_a_machine_whose_calls_are_not_known_has_no_filter():
    assert syscalls.program("riscv64") == b""
