"""What a pod of the small cluster runs: its container's command, in a sandbox with its volumes where it sees them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from workers.executors import bubblewrap

_NOT_STARTED = 128


class Process:
    """A container.

    Args:
        pod: its specification.
        volumes: the folders of volume claims.
        log: a file that is made.
        program: the command of its image.

    Attributes:
        fault: why it could not be started.
    """

    def __init__(
        self, pod: Mapping[str, Any], volumes: Mapping[str, Path], log: Path, program: list[str] | None
    ) -> None:
        self.fault = ""
        (self._container,) = pod["containers"]
        self._claims = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName") for each in pod["volumes"]}
        self._volumes = volumes
        self._log = log
        self._program = program or []
        self._running: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._over = False

    def start(self) -> None:
        container = self._container
        words = [*container.get("command", self._program), *container.get("args", [])]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
        self._log.touch()
        if shutil.which(words[0], path=path) is None:
            self.fault = f'exec: "{words[0]}": executable file not found in $PATH'
            return
        environment = {"PATH": path, **{each["name"]: each["value"] for each in container.get("env", [])}}
        reader, writer = os.pipe()
        command = [
            *(str(bubblewrap.find()), "--unshare-all", "--die-with-parent", "--new-session"),
            *("--json-status-fd", str(writer)),
            *bubblewrap._system(),
            *(word for place in bubblewrap._python() for word in ("--ro-bind", place, place)),
            *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"),
            *(word for mount in container["volumeMounts"] for word in self._bound(mount)),
            *("--remount-ro", "/", "--chdir", container.get("workingDir", "/"), "--", *words),
        ]
        # Kept open: at its end it says more.
        self._status = os.fdopen(reader)
        with self._log.open("wb") as output:
            self._running = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writer],
            )
            os.close(writer)
            self._first = int(json.loads(self._status.readline())["child-pid"])

    def _bound(self, mount: Mapping[str, Any]) -> list[str]:
        claim = self._claims[mount["name"]]
        if claim is None:
            return []
        source = self._volumes[claim] / mount.get("subPath", "")
        return ["--ro-bind" if mount["readOnly"] else "--bind", str(source), mount["mountPath"]]

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.fault or (self._over and self._running is None):
            return _NOT_STARTED
        code = self._running.poll() if self._running is not None else None
        if code is not None:
            self._status.close()
        return code if code is None or code >= 0 else 128 - code

    def end(self, grace: float) -> None:
        """Tell it to end, and kill it after a while."""
        self._over = True
        if self.code is None:
            with suppress(ProcessLookupError):
                os.killpg(self._first, signal.SIGTERM)
            threading.Timer(grace, self.kill).start()

    def kill(self) -> None:
        """Kill it, and all that it has started."""
        self._over = True
        if self.code is None and self._first:
            with suppress(ProcessLookupError):
                os.kill(self._first, signal.SIGKILL)

    def said(self) -> Iterator[bytes]:
        """Yield what it says, until it has ended."""
        with self._log.open("rb") as log:
            while True:
                over = self.code is not None
                while chunk := log.read(65536):
                    yield chunk
                if over:
                    return
                time.sleep(0.02)
