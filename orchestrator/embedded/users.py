"""The unprivileged user that Postgres runs as when we are root, since it refuses to run as root."""

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from orchestrator.embedded import launch


class User(NamedTuple):
    """A user of this machine.

    Args:
        uid: user id.
        gid: id of the user's main group; no other group counts.
    """

    uid: int
    gid: int


def unprivileged_user() -> User | None:
    """Return the user to change to, None where there is nothing to drop since we are not root.

    Raises:
        LookupError: we are root on a machine without the user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise LookupError(
            "Postgres does not run as root, and this machine has no user `nobody` to run it as; add one"
        ) from None
    return User(nobody.pw_uid, nobody.pw_gid)


def can_reach(user: User, path: Path) -> bool:
    """Tell whether a user may enter a folder, or execute a file, and traverse all folders above it.

    The kernel is asked, as that user: modes alone do not tell of access lists or network file systems.
    """
    # Not subprocess's `user`: it forks for that, which a process with gRPC's threads may not survive.
    privileges = [f"--uid={user.uid}", f"--gid={user.gid}"]
    command = [sys.executable, "-IS", launch.__file__, *privileges, "--", "test", "-x", str(path)]
    return subprocess.run(command, cwd="/", check=False).returncode == 0
