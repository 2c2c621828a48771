"""What the demo shows is counted from events alone."""

from datetime import UTC, datetime, timedelta

from orchestrator import protos as pb
from orchestrator.cli.progress import Tracker
from orchestrator.client import Event

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TRAIN = "11111111-1111-1111-1111-111111111111"


class Plan:
    """Tells a tracker what happens to tasks, a second after each other."""

    def __init__(self) -> None:
        self.tracker = Tracker({TRAIN: "train"})
        self.tasks: dict[str, pb.ComputeTask] = {}
        self._events = 0

    def tell(self, asset: object, kind: str = "updated") -> str | None:
        self._events += 1
        return self.tracker.take(Event(str(self._events), BEGIN + timedelta(seconds=self._events), kind, asset, ""))

    def create(self, key: str, worker: str, **fields: object) -> None:
        task = pb.ComputeTask(
            key=key, worker=worker, function_key=TRAIN, status=pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, **fields
        )
        self.tasks[key] = task
        self.tell(task, "created")

    def move(self, key: str, status: "pb.ComputeTaskStatus.ValueType") -> str | None:
        task = pb.ComputeTask()
        task.CopyFrom(self.tasks[key])
        task.status = status
        self.tasks[key] = task
        return self.tell(task)


def test_each_organization_has_its_part():
    plan = Plan()
    plan.create("a", "hospital-1")
    plan.create("b", "hospital-1")
    plan.create("c", "aggregator")
    plan.move("a", pb.STATUS_EXECUTING)
    plan.move("c", pb.STATUS_EXECUTING)
    plan.move("c", pb.STATUS_DONE)
    shares = plan.tracker.shares
    assert list(shares) == ["hospital-1", "aggregator"]
    assert (shares["hospital-1"].total, shares["hospital-1"].ended, list(shares["hospital-1"].doing)) == (2, 0, ["a"])
    assert (shares["aggregator"].total, shares["aggregator"].ended, shares["aggregator"].doing) == (1, 1, {})
    counts = plan.tracker.progress.counts
    assert (counts["To do"], counts["Doing"], counts["Done"]) == (1, 1, 1)


def test_each_beginning_is_an_attempt():
    plan = Plan()
    plan.create("a", "hospital-1")
    plan.move("a", pb.STATUS_EXECUTING)
    plan.move("a", pb.STATUS_WAITING_FOR_EXECUTOR_SLOT)
    assert not plan.tracker.shares["hospital-1"].doing
    plan.move("a", pb.STATUS_EXECUTING)
    assert plan.tracker.attempts == 2


def test_a_line_says_what_ended_and_after_how_long():
    plan = Plan()
    plan.create("a", "hospital-1", metadata={"round": "3"})
    assert plan.move("a", pb.STATUS_EXECUTING) is None
    assert plan.move("a", pb.STATUS_DONE) == "  1 of 1  hospital-1: train, round 3: Done after 1.0 s"


def test_the_same_state_again_counts_once():
    plan = Plan()
    plan.create("a", "hospital-1")
    plan.move("a", pb.STATUS_EXECUTING)
    plan.move("a", pb.STATUS_DONE)
    assert plan.move("a", pb.STATUS_DONE) is None
    assert (plan.tracker.attempts, plan.tracker.shares["hospital-1"].ended) == (1, 1)


def test_scores_belong_to_the_hospital_that_tested():
    plan = Plan()
    plan.create("a", "hospital-2")
    plan.tell(
        pb.Performance(compute_task_key="a", compute_task_output_identifier="accuracy", performance_value=0.5),
        "created",
    )
    assert plan.tracker.scores == {"hospital-2": {"accuracy": 0.5}}


def test_a_failed_task_is_remembered():
    plan = Plan()
    plan.create("a", "hospital-1")
    plan.create("b", "hospital-2")
    plan.move("a", pb.STATUS_EXECUTING)
    plan.move("a", pb.STATUS_FAILED)
    assert [task.key for task in plan.tracker.failed] == ["a"]
