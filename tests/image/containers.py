"""Containers of the image under test, as locked up as the charts lock them."""

import json
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

USER = 10001
# runc is Debian's; on a machine without systemd podman cannot run health checks by timers.
ENGINE = ["podman", "--runtime=runc"]
LOCKED = [
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:size=256m,mode=1777",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
    "--pull=never",
    "--no-healthcheck",
]


def podman(*arguments: str) -> str:
    done = subprocess.run([*ENGINE, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"podman {arguments[0]}: {done.stderr}"
    return done.stdout


def configuration(image: str) -> dict[str, Any]:
    """Return what an image says about itself."""
    (found,) = json.loads(podman("image", "inspect", image))
    return dict(found)


class Container:
    """A container that runs until it is stopped; its output is kept until the block is over.

    Args:
        image: its name.
        arguments: of its entrypoint.
        settings: without their prefix.
        folders: of this machine -> in the container; with `:ro` at the end they are read only.
        entrypoint: another program than the image's.
        sandbox: whether it may isolate functions: sees all of /proc, without which nobody may mount another, and has a
            host name to give.
    """

    def __init__(
        self,
        image: str,
        *arguments: str,
        settings: Mapping[str, object] | None = None,
        folders: Mapping[Path, str] | None = None,
        entrypoint: str | None = None,
        sandbox: bool = False,
    ) -> None:
        self.name = f"test-{uuid.uuid4().hex}"
        variables = [f"--env=ORCHESTRATOR_{name}={value}" for name, value in (settings or {}).items()]
        volumes = [f"--volume={here}:{there}" for here, there in (folders or {}).items()]
        program = [f"--entrypoint={entrypoint}"] if entrypoint else []
        allowed = ["--security-opt=unmask=ALL", "--security-opt=seccomp=unconfined"] if sandbox else []
        self._run = [
            "run",
            "--detach",
            f"--name={self.name}",
            *LOCKED,
            *allowed,
            *variables,
            *volumes,
            *program,
            image,
            *arguments,
        ]

    def __enter__(self) -> "Container":
        podman(*self._run)
        return self

    def __exit__(self, *_: object) -> None:
        podman("rm", "--force", "--time=0", self.name)

    @property
    def log(self) -> str:
        done = subprocess.run([*ENGINE, "logs", self.name], capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr

    @property
    def running(self) -> bool:
        return podman("inspect", "--format={{.State.Running}}", self.name).strip() == "true"

    def wait(self) -> int:
        """Return its exit code, once it has ended by itself."""
        return int(podman("wait", self.name))

    def stop(self, seconds: int = 60) -> int:
        """Send it TERM, and KILL later; return its exit code."""
        podman("stop", f"--time={seconds}", self.name)
        return int(podman("inspect", "--format={{.State.ExitCode}}", self.name))

    def execute(self, *command: str) -> str:
        return podman("exec", self.name, *command)
