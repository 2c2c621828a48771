"""A function that runs by the real executor, for the tests of what it can do to us."""

import json
import os
import textwrap
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workers.executors import watch
from workers.executors.bubblewrap import Shared
from workers.executors.executor import Job, Limits, Outcome
from workers.executors.local import Local
from workers.executors.sandbox import SandboxBox
from workers.executors.subprocess import OpenBox

LIMITS = Limits(time=30.0, grace=0.5, memory=None, file_size=50_000_000)
EXECUTORS = ("sandbox", "prepared", "subprocess")
"""`prepared` is a sandbox that was set up before anything of its function was there."""


class Contained:
    """The folder of an attempt.

    Args:
        folder: an empty one.
        kind: of executor.
        network: whether the function may use it.
    """

    def __init__(self, folder: Path, kind: str = "sandbox", network: bool = False) -> None:
        self.folder, self.kind = folder, kind
        for name in ("function", "home", "outputs", "inputs", "seen"):
            (folder / name).mkdir()
        self.log = folder / "log"
        self.stop = threading.Event()
        # What the function is told, and where it says something while it runs.
        self.seen = folder / "seen"
        self._network = network
        sandbox = SandboxBox(shared=(Shared(self.seen, True),), shared_memory=10_000_000)
        self.executor = Local(OpenBox() if kind == "subprocess" else sandbox)

    @property
    def outputs(self) -> Path:
        """Where the function finds its outputs."""
        return self.folder / "outputs" if self.kind == "subprocess" else Path("/outputs")

    def run(self, source: str, limits: Limits = LIMITS, lease: Path | None = None, **told: object) -> Outcome:
        """Run Python code; it finds what it is told in `told`, and `seen`, `outputs` as paths."""
        return watch.run(self.executor, self.job(source, limits, lease, **told), self.stop)

    def job(self, source: str, limits: Limits = LIMITS, lease: Path | None = None, **told: object) -> Job:
        """Return what an executor is given to run the code; see `run`."""
        if self.kind == "prepared":
            assert self.executor.prepare(self.folder, limits)
            assert self.executor.prepared(self.folder, 30.0)
        told |= {"seen": str(self.seen), "outputs": str(self.outputs)}
        head = (
            "import json, os, pathlib, signal, socket, subprocess, sys, tempfile, time\n"
            f"told = json.loads({json.dumps(told)!r})\n"
            "seen, outputs = pathlib.Path(told['seen']), pathlib.Path(told['outputs'])\n"
        )
        (self.folder / "function" / "function.py").write_text(head + textwrap.dedent(source))
        prepared = self.folder if self.kind == "prepared" else None
        command = ["python3", "function.py"]
        return Job(self.folder, command, limits, network=self._network, lease=lease, prepared=prepared)

    def found(self) -> Mapping[str, object]:
        """Return what the function wrote into its output `found`, as JSON."""
        result: Mapping[str, object] = json.loads((self.folder / "outputs" / "found").read_text())
        return result


def limited(**limits: float) -> Limits:
    """Return the limits, but for some."""
    return replace(LIMITS, **limits)


def processes_with(mark: str) -> list[int]:
    """Return the processes whose command line holds a mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
