"""Ends what a killed supervisor leaves behind: processes that hang in their clean-up, children that nobody told.

The kernel tells the direct children of a supervisor that is killed with -9 (see `launch`, Linux only), but a server
has children of its own, and one that shuts down in good order may wait for another that is gone. So a small process
waits at the end of a pipe from the supervisor, and kills the groups that still live some time after it broke.
Run as a program it uses the standard library only, to start in milliseconds.
"""

import os
import signal
import subprocess
import sys
import time

_GOOD = "all have ended"
_POLL_SECONDS = 0.05


class Reaper:
    """A process that outlives this one, if need be, to end process groups."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-IS", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def watch(self, group: int, grace: float) -> None:
        """Have a process group killed when this process has ended without `stop`.

        Args:
            group: its id.
            grace: seconds that it may take to end by itself.
        """
        self._tell(f"{group} {grace}")

    def check(self) -> None:
        """Do nothing: what it guards does not need it."""

    def stop(self) -> None:
        """End it without harm to anyone; all groups have ended. Without effect if it does not run."""
        if self._process is not None:
            self._tell(_GOOD)
            self._process.communicate()

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the reaper was not started")
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # Somebody killed it: nothing is lost unless we are killed as well.
            return


def main() -> None:
    """Read groups until the pipe breaks, then end them."""
    # What ends a supervisor must not end its reaper.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lines = [line.strip() for line in sys.stdin]
    if _GOOD in lines:
        return
    begin = time.monotonic()
    left = [(int(group), float(grace)) for group, grace in (line.split() for line in lines)]
    while left:
        now = time.monotonic() - begin
        left = [(group, grace) for group, grace in left if _lives(group, 0 if now < grace else signal.SIGKILL)]
        # A killed one whose parent does not bury it stays for ever.
        if all(now > grace for _, grace in left):
            return
        time.sleep(_POLL_SECONDS)


def _lives(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
