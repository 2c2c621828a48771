"""How a command is run, and what may be told to its launcher."""

from typing import NamedTuple

KILL = b"k"
"""The order to end at once."""
PAUSE = b"p"
"""The order to stop all that runs, until it is told to go on."""
START = b"s"
"""The order to a command that waits to become another, whose words follow in a line of JSON; the descriptor of a lease
may come with it."""
RESUME = b"r"
"""The order to let it go on, if there is a lease."""

WAITS = -1
"""What a launcher says, after its id, when its command waits for `START`; its last word is the command's exit code."""


class Options(NamedTuple):
    """How a command is run.

    Args:
        grace: seconds between TERM and KILL.
        memory: bytes of address space of each process; 0 for no limit.
        file_size: bytes of each file that it writes.
        open_files: of each process.
        processes: and threads; 0 for no limit. Only with `boxed`, as elsewhere the kernel would count all that this
            user runs; and not for root, whom the kernel does not limit.
        log_size: bytes of the log that are kept.
        lease: a descriptor (see `lease`); None for no lease.
        boxed: whether the command is bubblewrap.
        cgroup: the folder of a control group to run in; empty for the launcher's.
        waits: whether the command waits for `START`; it gets a descriptor as one word more, from which it reads the
            words of the one that it is to become, each with a null byte after it.
        syscalls: a filter of system calls for bubblewrap, in hexadecimal digits; empty for none.
    """

    grace: float
    memory: int
    file_size: int
    open_files: int
    processes: int
    log_size: int
    lease: int | None = None
    boxed: bool = False
    cgroup: str = ""
    waits: bool = False
    syscalls: str = ""
