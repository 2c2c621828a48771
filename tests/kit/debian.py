"""Programs of Debian's that tests need and no wheel brings: installed where they are missing and may be."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

POLICY = Path("/usr/sbin/policy-rc.d")
INSTALL_SECONDS = 240

Found = TypeVar("Found")


class AbsentError(Exception):
    """A program is missing, and cannot be had; the message says why."""


def obtained(package: str, find: Callable[[], Found | None]) -> Found:
    """Return what a package brings, which is installed if it is missing and can be.

    Args:
        package: its name.
        find: returns what is wanted of it, None where it is missing.

    Raises:
        AbsentError: it is missing and cannot be installed.
    """
    # Two pytest workers may ask at once; the second finds what the first has installed.
    with locked(Path(__file__).parent):
        if (found := find()) is None:
            install(package)
            found = find()
    if found is None:
        raise AbsentError(f"{package} was installed, and still cannot be found")
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that lock the same folder out; nothing is written."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def install(package: str) -> None:
    """Install Debian's package, and keep it from starting its service.

    Raises:
        AbsentError: we may not, or it cannot be had.
    """
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        why = "there is no apt-get" if apt is None else "only root can install it"
        raise AbsentError(f"{package} is not installed, and {why}")
    command = [apt, "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", package]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_services(package):
        for refresh in (False, True):
            try:
                if refresh:
                    subprocess.run([apt, "update"], env=environment, capture_output=True, timeout=INSTALL_SECONDS)
                done = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=INSTALL_SECONDS,
                )
            except subprocess.TimeoutExpired:
                raise AbsentError(f"apt-get did not install {package} within {INSTALL_SECONDS} s") from None
            if done.returncode == 0:
                return
    last = ([line for line in done.stdout.splitlines() if line.strip()] or ["no word"])[-1]
    raise AbsentError(f"apt-get cannot install {package}: {last}")


@contextmanager
def no_services(package: str) -> Iterator[None]:
    """Forbid Debian's packages to start services; what forbade or allowed it before is put back."""
    if POLICY.exists() and subprocess.run([str(POLICY), package, "start"], capture_output=True).returncode == 101:
        yield
        return
    before = POLICY.with_name(f"{POLICY.name}.orchestrator-tests")
    if POLICY.exists():
        POLICY.rename(before)
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if before.exists():
            before.rename(POLICY)
