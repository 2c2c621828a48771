"""What waits for the consent of an organization, as the commands of all show it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from orchestrator import protos as pb
from orchestrator.cli import reading
from orchestrator.client import CallError, Client, lists
from orchestrator.client.printing import printable

_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Group:
    """Tasks that wait for one and the same.

    Args:
        decline: of one of them.
        tasks: how many they are.
    """

    decline: pb.Decline
    tasks: int

    @property
    def line(self) -> str:
        """What they wait for, in a line."""
        return printable(f"{_tasks(self.tasks)}: {self.decline.reason}")

    def facts(self, command: str) -> Iterator[tuple[str, str]]:
        """Yield what there is to know, for whoever decides.

        Args:
            command: how the commands of consent begin here.
        """
        decline = self.decline
        yield "waiting", self.line
        yield "function", decline.function_key
        yield "", f"{decline.function_name} of {decline.function_owner}"
        yield "archive", decline.function_checksum
        yield "plan", decline.compute_plan_key
        yield "", f"of {decline.plan_owner}"
        if decline.function:
            yield "read it", f"{command} show {decline.function_key}"

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        shown = reading.document(self.decline)
        del shown["compute_task_key"], shown["time"]
        return {"tasks": self.tasks, **shown}


def grouped(declines: Iterable[pb.Decline]) -> list[Group]:
    """Return declines by what they miss, in the order in which each came first."""
    first: dict[tuple[str, ...], pb.Decline] = {}
    counts: dict[tuple[str, ...], int] = {}
    for decline in declines:
        name = (decline.worker, decline.function_key, decline.compute_plan_key, decline.reason)
        first.setdefault(name, decline)
        counts[name] = counts.get(name, 0) + 1
    return [Group(decline, counts[name]) for name, decline in first.items()]


def of_channel(client: Client) -> Iterator[pb.Decline]:
    """Yield what workers have declined."""
    return lists.pages(client.worker.GetDeclines, pb.GetDeclinesParam(), "declines")


def of_plan(client: Client, plan: str) -> list[pb.Decline]:
    """Return what workers have declined of a compute plan."""
    return list(lists.pages(client.worker.GetDeclines, pb.GetDeclinesParam(compute_plan_key=plan), "declines"))


def of_task(client: Client, task: str) -> pb.Decline | None:
    """Return that a task was declined, None where it was not."""
    found = client.worker.GetDeclines(pb.GetDeclinesParam(compute_task_key=task, page_size=1)).declines
    return found[0] if found else None


class Notices:
    """Tells, as long as the block lasts, what a compute plan waits for: each once.

    Args:
        client: who watches.
        plan: its key.
        tell: called with a line.
    """

    def __init__(self, client: Client, plan: str, tell: Callable[[str], object]) -> None:
        self._client = client
        self._plan = plan
        self._tell = tell
        self._told: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(_LOOK_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                reasons = {group.decline.reason: group for group in grouped(of_plan(self._client, self._plan))}
            except CallError:
                # Whoever watches says that the connection is lost, and waits for it.
                reasons = {}
            for reason, group in reasons.items():
                if reason not in self._told:
                    self._told.add(reason)
                    self._tell(group.line)
            self._ended.wait(_LOOK_SECONDS)


def _tasks(count: int) -> str:
    return "1 task waits" if count == 1 else f"{count} tasks wait"
