"""What a task says while it runs, and after, from the asset store of the organization that runs it."""

import ssl
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.errors import CallError, StoreError
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps, Work
from orchestrator.client.stores import Stores
from orchestrator.client.task import Task
from orchestrator.core.states import TASK_WORDS, TERMINAL

_CHUNK = 256 * 1024
_EXPLANATION = 500
_LARGEST = 1024**3
_PATIENCE_SECONDS = 30.0


class SilentError(StoreError):
    """A task has said nothing, or what it said is not kept any more."""


class Reader:
    """Reads a log as it comes: what a task says, or what was noted when a function was built.

    Args:
        client: with our certificate, and the trust in theirs.
        store: https URL of the asset store where it lies.
        name: in that store.
        what: the log for people.

    Attributes:
        attempt: which was read last, of a task.
    """

    def __init__(self, client: httpx.Client, store: str, name: str, what: str) -> None:
        self._client = client
        self._url = f"{store.rstrip('/')}/{name}"
        self._what = what
        self._size = 0
        self._answered = time.monotonic()
        self.attempt = ""

    @classmethod
    def of_task(cls, client: httpx.Client, store: str, task: str, attempt: int | None = None) -> Self:
        """Return what reads a task's log.

        Args:
            client: as above.
            store: https URL of the asset store of the organization that runs the task.
            task: its key.
            attempt: which; None for the last, and the next ones when they come.
        """
        name = f"task_logs/{task}" if attempt is None else f"task_logs/{task}/{attempt}"
        return cls(client, store, name, f"what task {task} says")

    @property
    def size(self) -> int:
        """How many bytes of this attempt were read."""
        return self._size

    def more(self) -> Iterator[bytes]:
        """Yield what was said since, in parts; of a new attempt from its beginning, and a line before it.

        Raises:
            SilentError: nothing was said yet.
            StoreError: it may not be read, or the store has not answered for half a minute.
        """
        try:
            yield from self._more()
            self._answered = time.monotonic()
        except (httpx.TransportError, ssl.SSLError) as error:
            if time.monotonic() > self._answered + _PATIENCE_SECONDS or not self._size:
                raise StoreError(f"{self._what} cannot be fetched from {self._url}: {error}") from error
        except httpx.InvalidURL as error:
            raise StoreError(f"{self._what} has the address {printable(self._url)!r}, which is no URL") from error

    def _more(self) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity"}
        if self._size:
            headers["Range"] = f"bytes={self._size}-"
        with self._client.stream("GET", self._url, headers=headers) as answer:
            attempt = answer.headers.get("log-attempt", self.attempt)
            if self.attempt in ("", attempt):
                self.attempt = attempt
                if not answer.is_success:
                    self._judge(answer)
                    return
                # A store that knows no ranges gives all of it.
                known = 0 if answer.status_code == httpx.codes.PARTIAL_CONTENT else self._size
                for chunk in answer.iter_raw(_CHUNK):
                    new, known = chunk[known:], max(0, known - len(chunk))
                    self._size += len(new)
                    yield new
                return
        if attempt.isdecimal() and int(attempt) < int(self.attempt):
            # That of the last was moved, since it failed.
            return
        self.attempt, self._size = attempt, 0
        yield f"\n[attempt {attempt}]\n".encode()
        yield from self._more()

    def _judge(self, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        reason = printable(next(answer.iter_raw(_EXPLANATION), b"").decode(errors="replace"))
        if answer.status_code == httpx.codes.NOT_FOUND:
            if not self._size:
                raise SilentError(f"{self._what} is not there: {reason}")
            return
        late = time.monotonic() > self._answered + _PATIENCE_SECONDS
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or late or not self._size:
            raise StoreError(
                f"{self._what} is refused: {self._url} answered {answer.status_code} {reason}", answer.status_code
            )


def read(stores: Stores, task: Task | pb.ComputeTask | str, attempt: int | None) -> Steps[str]:
    """Return what a task has said so far; see `Client.log`."""
    key = yield from keys.find(task, pb.ASSET_COMPUTE_TASK, Task, pb.ComputeTask)
    found = yield lambda client: client.tasks.GetTask(pb.GetTaskParam(key=key))
    if found.status == pb.STATUS_FAILED and attempt is None:
        report = yield from _report(found)
        if report is None or not report.HasField("logs_address"):
            raise SilentError(f"task {found.key} has failed, and there is no log of it for others to read")
        text: str = yield Work(partial(_registered, stores, report.logs_address, f"the log of task {found.key}"))
        return text
    known = yield lambda client: client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    store = store_of(found.worker, known.organizations)
    said: str = yield Work(partial(_said, stores, store, found, attempt))
    return said


def silent(task: pb.ComputeTask, attempt: int | None) -> str:
    """Return in words that there is nothing to read of what a task says.

    Args:
        task: as it is now.
        attempt: at it, that was asked for; None for the last.
    """
    what = f"task {task.key}" if attempt is None else f"attempt {attempt} of task {task.key}"
    if task.status not in TERMINAL:
        state = "has said" if task.status == pb.STATUS_EXECUTING else f"is {TASK_WORDS[task.status]}: it has said"
        return f"{what} {state} nothing yet"
    ended = TASK_WORDS[task.status]
    return f"{what}, which is {ended}, said nothing, or {task.worker} does not keep what it said any more"


def _report(task: pb.ComputeTask) -> Steps[pb.FailureReport | None]:
    for key in (task.key, task.function_key):
        wanted = pb.GetFailureReportParam(asset_key=key)
        try:
            report: pb.FailureReport = yield partial(_ask, wanted)
        except CallError as error:
            if error.oe_code != "OE0002":
                raise
        else:
            return report
    return None


def _ask(wanted: pb.GetFailureReportParam, client: Any) -> Any:
    return client.failure_reports.GetFailureReport(wanted)


def _registered(stores: Stores, address: pb.Addressable, what: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log"
        stores.get(address, what, file, _LARGEST)
        return file.read_text(encoding="utf-8", errors="replace")


def _said(stores: Stores, store: str, task: pb.ComputeTask, attempt: int | None) -> str:
    with closing(stores.connect()) as connection:
        parts = Reader.of_task(connection.client, store, task.key, attempt).more()
        try:
            return b"".join(parts).decode(errors="replace")
        except SilentError:
            raise SilentError(silent(task, attempt)) from None


def store_of(organization: str, known: Iterable[pb.Organization]) -> str:
    """Return the URL of an organization's asset store.

    Args:
        organization: whose.
        known: the organizations of the channel.

    Raises:
        StoreError: it has registered none.
    """
    address = next((each.address for each in known if each.id == organization), "")
    if not address:
        raise StoreError(f"{organization} has registered no address of its asset store, in which the log lies")
    return address
