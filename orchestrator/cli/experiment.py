"""What the demo does in its federation: register, submit, watch, compare."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from examples.breast_cancer import registration
from examples.federated_averaging import build_plan
from orchestrator import protos as pb
from orchestrator.cli.display import elapsed, show
from orchestrator.cli.folder import command
from orchestrator.cli.progress import Tracker
from orchestrator.cli.report import Comparison, Facts, fact_table, faults, score_table
from orchestrator.cli.story import Story, Telling
from orchestrator.client import Client, Event, Plan, lists
from orchestrator.client.printing import printable
from orchestrator.embedded.federation import Federation
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Database
from workers.assets.store import AssetStore, own_name

if TYPE_CHECKING:
    from examples.breast_cancer.baselines import Baselines
    from examples.breast_cancer.data import Hospital

HOSPITALS = ("hospital-1", "hospital-2", "hospital-3")
AGGREGATOR = "aggregator"

_LOG_LINES = 15
_PATIENCE_SECONDS = 10.0
_CHECK_SECONDS = 0.5
_READY_SECONDS = 60.0


class Preparation:
    """Patients and baselines, computed in a thread while the federation starts; nobody waits for its end.

    Args:
        rounds: of training.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.hospitals: Future[Mapping[str, Hospital]] = Future()
        self.baselines: Future[Baselines] = Future()
        # A daemon: who interrupts the demo does not wait until a model is trained.
        threading.Thread(target=self._run, name="preparation", daemon=True).start()

    def _run(self) -> None:
        try:
            hospitals = _split()
            self.hospitals.set_result(hospitals)
            self.baselines.set_result(_measure(hospitals, self._rounds))
        except Exception as error:
            for future in (self.hospitals, self.baselines):
                if not future.done():
                    future.set_exception(error)


class Experiment:
    """One compute plan of the breast-cancer example.

    Args:
        federation: it runs, with the hospitals and the aggregator.
        telling: how it is told.
        preparation: what is computed meanwhile.
    """

    def __init__(self, federation: Federation, telling: Telling, preparation: Preparation) -> None:
        self.federation = federation
        self._console = telling.console
        self._rounds = telling.rounds
        self._stays = telling.stays
        self._preparation = preparation
        self.further = f"try `{command('plan list', telling.folder)}` in another terminal"

    def tell(self) -> list[str]:
        """Run it, print its table, and return what is not as it should be; see `Story.tell`.

        A function that is not built within a minute is a TimeoutError.
        """
        preparation = self._preparation
        self._console.print("Each organization's consent policy admits all members of this federation")
        with registration.joined(self.federation.running) as clients:
            aggregator = clients[AGGREGATOR]
            self._console.print("Registering organizations, functions and data")
            for name, client in clients.items():
                client.register_organization(self.federation.running.stores[name])
            functions = registration.add_functions(aggregator, HOSPITALS)
            patients = preparation.hospitals.result()
            datasets = {name: registration.add_dataset(clients[name], patients[name], AGGREGATOR) for name in HOSPITALS}
            self._await(aggregator, functions.all)
            plan = build_plan(aggregator, functions, datasets, self._rounds)
            plan.submit(bar=False)
            self._console.print(
                f"Submitted a compute plan of {len(plan.tasks)} tasks, {self._rounds} rounds of training"
            )
            tracker = Tracker({function.key: function.name for function in functions.all})
            with show(self._console, tracker) as display:
                for event in self._events(aggregator, plan):
                    display.take(event)
            for task in tracker.failed:
                self._explain(clients[task.worker], task, tracker.label(task))
            return self._report(aggregator, tracker, preparation.baselines.result())

    def _await(self, client: Client, functions: Sequence[pb.Function]) -> None:
        """Return once functions are built; a process that dies meanwhile is noticed too."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                client.wait_ready(*functions, timeout=_CHECK_SECONDS)
                return
            except TimeoutError:
                self.federation.check()
                if time.monotonic() > deadline:
                    raise

    def _events(self, client: Client, plan: Plan[None]) -> Iterator[Event]:
        """Yield the plan's events until its end; a process that dies meanwhile is noticed too."""
        arrived: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()

        def read() -> None:
            try:
                for event in client.watch(plan, _PATIENCE_SECONDS):
                    arrived.put(event)
                arrived.put(None)
            except Exception as error:
                arrived.put(error)

        threading.Thread(target=read, name="events", daemon=True).start()
        while True:
            try:
                event = arrived.get(timeout=_CHECK_SECONDS)
            except queue.Empty:
                self.federation.check()
                continue
            if event is None:
                return
            if isinstance(event, Exception):
                self.federation.check()
                raise event
            yield event

    def _explain(self, worker: Client, task: pb.ComputeTask, label: str) -> None:
        """Print a failure report and the end of the log that the task's worker kept."""
        report = worker.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=task.key))
        error_type = pb.ErrorType.Name(report.error_type).removeprefix("ERROR_TYPE_")
        self._console.print(
            f"\n[bold red]{label} failed at {worker.organization}[/]: {error_type} error, task {task.key}",
            soft_wrap=True,
        )
        name = own_name(self.federation.running.stores[worker.organization], report.logs_address.storage_address)
        if name is None:
            self._console.print(f"No log was kept; see {self.federation.places.logs}")
            return
        store = AssetStore(str(self.federation.places.store_root(worker.organization)))
        file, _ = store.open(name)
        with file:
            lines = file.read().decode(errors="replace").splitlines()
        self._console.print(f"The end of its log, {name} in the asset store of {worker.organization}:", soft_wrap=True)
        for line in lines[-_LOG_LINES:]:
            self._console.print(Text(f"  {printable(line)}"), soft_wrap=True)

    def _report(self, client: Client, tracker: Tracker, baselines: "Baselines") -> list[str]:
        tasks = tracker.progress.counts
        comparison = Comparison(tracker.scores, baselines.alone, baselines.pooled)
        facts = Facts(
            tasks=tasks,
            attempts=tracker.attempts,
            messages=self._count_messages(),
            events=sum(1 for _ in lists.pages(client.events.QueryEvents, pb.QueryEventsParam(), "events")),
            seconds=elapsed(tracker),
        )
        self._console.print()
        self._console.print(score_table(comparison))
        self._console.print(fact_table(facts, self.federation.running.flower, self._stays), soft_wrap=True)
        return faults(tasks, comparison)

    def _count_messages(self) -> int:
        database = Database(self.federation.places.database_url, pool_size=1, retry_budget=1.0)
        try:
            with database.begin() as connection:
                return outbox.count_sent(connection)
        finally:
            database.close()


@contextmanager
def staged(telling: Telling) -> Iterator[Story]:
    """Run the federation of the demo; the baselines are computed meanwhile."""
    preparation = Preparation(telling.rounds)
    organizations = [*HOSPITALS, AGGREGATOR]
    with Federation(telling.folder, organizations, data=telling.place, tell=telling.say) as federation:
        yield Experiment(federation, telling, preparation)


def _split() -> "Mapping[str, Hospital]":
    from examples.breast_cancer.data import split

    return split(HOSPITALS)


def _measure(hospitals: "Mapping[str, Hospital]", rounds: int) -> "Baselines":
    from examples.breast_cancer.baselines import measure

    return measure(hospitals, rounds)
