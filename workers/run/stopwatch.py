"""Measures the steps of an attempt, for the profile that users see."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator import protos as pb
from orchestrator.telemetry import spans

# The contract counts microseconds in 32 bits: 71 minutes. Longer steps are shown as that.
_LONGEST = 2**32 - 1


class Stopwatch:
    """Collects how long each step of a task took.

    Args:
        task: its key.

    Attributes:
        steps: those that have ended, in order.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self.steps: list[pb.ProfilingStep] = []

    @contextmanager
    def step(self, name: str, before: float = 0.0) -> Iterator[None]:
        """Measure the block, unless it raises; it is a span in any case.

        Args:
            name: of the step.
            before: seconds that it has taken in another process, which are added.
        """
        start = time.perf_counter_ns() - int(before * 1e9)
        with spans.span(name):
            yield
        microseconds = (time.perf_counter_ns() - start) // 1000
        duration = min(max(microseconds, 1), _LONGEST)
        self.steps.append(pb.ProfilingStep(asset_key=self._task, step=name, duration=duration))
