"""What large requests leave behind: the allocator keeps their memory in pieces, where nothing else asks for it."""

import asyncio
import ctypes

_PAUSE = 1.0
_LIBC = ctypes.CDLL(None)
# Only glibc keeps so much, and only glibc has it.
_CAN_TRIM = hasattr(_LIBC, "malloc_trim")


class Trimming:
    """Gives what is free back to the system, a moment after it was told to; by then gRPC has freed its part too."""

    def __init__(self) -> None:
        self._due = False

    def soon(self) -> None:
        """Do so in a second, however often this is called until then."""
        if _CAN_TRIM and not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_PAUSE, self._trim)

    def _trim(self) -> None:
        self._due = False
        # It takes its time, in which other threads run.
        asyncio.get_running_loop().run_in_executor(None, _LIBC.malloc_trim, 0)
