"""What a run leaves to whoever goes on with it when its process has gone: a few small files in the attempt's folder.

They are written one after another, as the run gets on, and each is whole or absent:

- `run`: what the orchestrator handed over, and since when the function runs; before its executor is told to start it,
- `outcome`: how the function has ended; before what is left of it is removed,
- `collected`: a byte for each time that its outputs were begun to be collected,
- `report`: what the orchestrator is told, word for word; before it is told, so that it can be told again.

No token is among them: it is in the owner's file beside the folder (see `workers.record`), and there alone.
"""

import base64
import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.any_pb2 import Any as Packed

from orchestrator import protos as pb
from workers.executors.executor import Ending, Outcome
from workers.executors.moment import Moment
from workers.folder import write

_FOLDER = "handover"

MOST_COLLECTIONS = 3
"""How often outputs are collected: what kills its worker each time is not to be tried for ever."""


@dataclass(frozen=True)
class Begun:
    """A run that has begun.

    Args:
        claim: what the orchestrator handed over, without the token and the inputs.
        seconds: that it may run.
        moment: when it began.
        paused: seconds since then that do not count.
        steps: what was done before, and how many microseconds each step took.
    """

    claim: pb.ClaimTaskResponse
    seconds: float
    moment: Moment
    paused: float
    steps: Sequence[tuple[str, int]]

    @property
    def left(self) -> float:
        """Seconds that it may still run."""
        return self.seconds - max(0.0, self.moment.ago - self.paused)


class Handover:
    """The handover of one attempt.

    Args:
        folder: the attempt's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER

    @property
    def is_there(self) -> bool:
        """Whether somebody can go on with the run."""
        return self._file("run").exists()

    def begin(self, claim: pb.ClaimTaskResponse, seconds: float, steps: Sequence[pb.ProfilingStep]) -> None:
        """Say that the function is about to be started.

        Args:
            claim: what the orchestrator handed over.
            seconds: that it may run.
            steps: what was done before.

        Raises:
            OSError: it cannot be written.
        """
        kept = pb.ClaimTaskResponse()
        kept.CopyFrom(claim)
        kept.attempt.token = ""
        # Whatever of them is needed is in the folder.
        kept.ClearField("input_assets")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._keep(Begun(kept, seconds, Moment.now(), 0.0, [(step.step, step.duration) for step in steps]))

    def begun(self) -> Begun:
        """Return what `begin` wrote.

        Raises:
            OSError: it is not there.
            ValueError: it is something else.
        """
        try:
            told = json.loads(self._file("run").read_text())
            return Begun(
                pb.ClaimTaskResponse.FromString(base64.b64decode(told["claim"])),
                float(told["seconds"]),
                Moment(**told["moment"]),
                float(told["paused"]),
                [(str(name), int(duration)) for name, duration in told["steps"]],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no handover of a run: {type(error).__name__}: {error}") from error

    def paused(self, seconds: float) -> None:
        """Say that the function was paused for some seconds."""
        begun = self.begun()
        self._keep(replace(begun, paused=begun.paused + seconds))

    def ended(self, outcome: Outcome) -> None:
        """Say how the function has ended."""
        write(self._file("outcome"), json.dumps({**asdict(outcome), "ending": outcome.ending.value}))

    def outcome(self) -> Outcome | None:
        """Return how the function has ended; None before."""
        told = self._read("outcome")
        if told is None:
            return None
        content: dict[str, Any] = json.loads(told)
        return Outcome(Ending(content["ending"]), int(content["exit_code"]), str(content["reason"]))

    def collect(self) -> int:
        """Say that the outputs are about to be collected; return how often they were before."""
        with self._file("collected").open("ab") as file:
            before = file.tell()
            file.write(b".")
        return before

    def tell(self, report: pb.CompleteTaskParam | pb.FailTaskParam) -> None:
        """Say what the orchestrator is about to be told."""
        kept = copy.deepcopy(report)
        kept.attempt.token = ""
        packed = Packed()
        packed.Pack(kept)
        write(self._file("report"), base64.b64encode(packed.SerializeToString()).decode())

    def told(self, token: str) -> pb.CompleteTaskParam | pb.FailTaskParam | None:
        """Return what the orchestrator was to be told, whether it was or not; None before.

        Args:
            token: of the attempt.
        """
        told = self._read("report")
        if told is None:
            return None
        packed = Packed.FromString(base64.b64decode(told))
        report: pb.CompleteTaskParam | pb.FailTaskParam = (
            pb.CompleteTaskParam() if packed.Is(pb.CompleteTaskParam.DESCRIPTOR) else pb.FailTaskParam()
        )
        packed.Unpack(report)
        report.attempt.token = token
        return report

    def forget(self) -> None:
        """Say that nobody is to go on with the run."""
        self._file("run").unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, begun: Begun) -> None:
        told = {
            "claim": base64.b64encode(begun.claim.SerializeToString()).decode(),
            "seconds": begun.seconds,
            "moment": asdict(begun.moment),
            "paused": begun.paused,
            "steps": begun.steps,
        }
        write(self._file("run"), json.dumps(told))

    def _read(self, name: str) -> str | None:
        try:
            return self._file(name).read_text()
        except FileNotFoundError:
            return None

    def _file(self, name: str) -> Path:
        return self._folder / name
