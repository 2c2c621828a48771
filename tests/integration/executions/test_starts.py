"""How an execution starts at Argo, in the rows: what is planned, told, noted, ended, and compared."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.engine.transaction import NOBODY, Database
from orchestrator.executions import executions, states
from orchestrator.executions.runtimes import looks, runs, topics
from tests.integration.counted import counting
from tests.integration.executions.starts import CENTRAL, CHANNEL, Starts

RUNNING = "Running"


@pytest.fixture
def starts(database: Database) -> Iterator[Starts]:
    starts = Starts(database)
    yield starts
    starts.check()


def found(name: str, label: str, phase: str = RUNNING, message: str = "") -> pb.FoundWorkflow:
    return pb.FoundWorkflow(name=name, label=label, phase=phase, message=message)


def test_a_start_is_planned_with_the_row_and_names_no_patient_in_events(starts):
    id_ = starts.place(iterations=2)
    assert starts.words(id_) == {"START": "To do"}
    (poke,) = starts.rows("SELECT queue FROM outbox")
    assert poke.queue == "executions.central"
    assert not starts.rows("SELECT FROM events WHERE position(:patient IN asset) > 0", patient=b"p-1")
    _, told = starts.take(id_, "START", pb.StartWork)
    assert b"patient p-1" in told.manifest
    assert told.communication_adapter.startswith(f"{id_}_-SEP-_")
    (adapter,) = starts.rows("SELECT adapter FROM communication_adapters")
    assert adapter.adapter == told.communication_adapter


def test_nothing_is_planned_without_its_row(starts):
    def use(transaction, _):
        execution = executions.insert(transaction, pb.Execution(schema="s"), {})
        runs.insert(transaction, execution, CENTRAL, runs.ARGO)
        raise ValueError("it is refused")

    with pytest.raises(ValueError, match="refused"):
        starts.call(use, None)
    assert not starts.rows("SELECT FROM execution_runs")


def test_what_a_runtime_was_told_goes_with_the_step(starts):
    id_, label = starts.started()
    assert not starts.rows("SELECT FROM execution_works")
    (run,) = starts.rows("SELECT workflow FROM execution_runs WHERE execution = :id", id=id_)
    assert run.workflow == f"tumour-{label}"


def test_a_start_fails_for_good_after_its_attempts_and_removes_what_it_made(starts):
    id_ = starts.place(iterations=2)
    for _ in range(2):
        assert starts.state(id_) == ("pending", "")
        starts.soon()
        starts.unreachable(starts.take(id_, "START", pb.StartWork)[0])
    assert starts.state(id_) == ("failed", "it could not be started: Argo is away")
    assert starts.words(id_) == {"START": "Failed", "END": "To do", "CLEAN": "To do"}
    attempt, clean = starts.take(id_, "CLEAN", pb.CleanWork)
    starts.done(attempt, pb.Cleaned(topics=[]))
    assert not starts.rows("SELECT FROM communication_adapters WHERE gone_at IS NULL")
    attempt, end = starts.take(id_, "END", pb.EndWork)
    assert end.label.endswith(f"-{id_}")
    assert clean.communication_adapters[0].startswith(f"{id_}_-SEP-_")
    starts.done(attempt, pb.Ended())


def test_topics_that_a_late_start_makes_anew_are_found_again(starts):
    id_ = starts.place(iterations=2)
    _, told = starts.take(id_, "START", pb.StartWork)
    starts.delete(id_)
    named = [f"{told.communication_adapter}{suffix}" for suffix in topics.SUFFIXES]

    def old() -> list[str]:
        found = starts.call(lambda transaction, asked: topics.find(transaction, asked), asked)
        return list(found.communication_adapters)

    asked = pb.FindOldTopicsParam(topics=named)
    gone = pb.ForgetTopicsParam(communication_adapters=[told.communication_adapter])
    assert old() == [told.communication_adapter]
    starts.call(topics.forget, gone, "other")
    starts.call(topics.forget, gone)
    # They are at the broker again.
    assert old() == [told.communication_adapter]
    starts.rows("UPDATE communication_adapters SET gone_at = gone_at - interval '49 hours' RETURNING 1")
    starts.call(topics.forget, gone)
    assert not starts.rows("SELECT FROM communication_adapters")


def test_a_refusal_is_not_tried_again(starts):
    id_ = starts.place()
    starts.unreachable(starts.take(id_, "START", pb.StartWork)[0], pb.ERROR_TYPE_EXECUTION)
    assert starts.state(id_)[0] == "failed"


def test_a_start_that_fails_leaves_what_pods_have_reported(starts):
    id_ = starts.place()
    attempt, told = starts.take(id_, "START", pb.StartWork)
    starts.report(id_, states.RUNNING)
    starts.unreachable(attempt, pb.ERROR_TYPE_EXECUTION)
    assert starts.state(id_) == ("running", "")
    assert starts.words(id_) == {"START": "Failed"}
    # A look notes the workflow, and sees it end.
    assert not starts.look(found("w", told.label)).unwanted
    assert starts.look(found("w", told.label, "Error", "gone wrong")).failed == [id_]
    assert "gone wrong" in starts.state(id_)[1]


def test_what_is_reported_running_and_was_never_started_fails_after_a_look(starts):
    id_ = starts.place()
    attempt, _ = starts.take(id_, "START", pb.StartWork)
    starts.report(id_, states.RUNNING)
    assert not starts.look().failed
    starts.unreachable(attempt, pb.ERROR_TYPE_EXECUTION)
    assert not starts.look(patience=60).failed
    assert starts.look().failed == [id_]
    assert starts.state(id_) == ("failed", "it could not be started, and nothing was reported of it")


def test_a_start_after_the_end_of_its_execution_is_told_so(starts):
    id_ = starts.place()
    starts.report(id_, states.FAILED)
    _, told = starts.take(id_, "START", pb.StartWork)
    assert told.over
    other = starts.place()
    assert not starts.take(other, "START", pb.StartWork)[1].over


def test_a_start_that_has_not_begun_is_cancelled_and_nothing_is_ended(starts):
    id_ = starts.place()
    starts.delete(id_)
    assert starts.words(id_) == {"START": "Cancelled"}
    assert not starts.rows("SELECT FROM execution_works UNION ALL SELECT FROM execution_runs")


@pytest.mark.parametrize("placed", [False, True])
def test_what_may_be_placed_is_ended_when_its_execution_is_deleted(starts, placed):
    id_ = starts.place()
    attempt, told = starts.take(id_, "START", pb.StartWork)
    if placed:
        starts.done(attempt, pb.Started(workflow="w"))
    starts.delete(id_)
    _, end = starts.take(id_, "END", pb.EndWork)
    assert (end.label, end.workflow) == (told.label, "w" if placed else "")
    if not placed:
        with pytest.raises(IncompatibleStatusError):
            starts.done(attempt, pb.Started(workflow="w"))


def test_a_look_ends_what_nobody_wants_and_nothing_else(starts):
    kept, label = starts.started()
    failed, failed_label = starts.started()
    starts.report(failed, states.FAILED)
    deleted, deleted_label = starts.started()
    starts.delete(deleted)
    cancelled, cancelled_label = starts.started()
    starts.cancel(cancelled)
    starts.report(cancelled, states.FAILED)
    begun = starts.place()
    _, told = starts.take(begun, "START", pb.StartWork)
    answer = starts.look(
        found(f"tumour-{label}", label),
        found("second", label),
        found(f"tumour-{failed_label}", failed_label),
        found("of-deleted", deleted_label),
        found(f"tumour-{cancelled_label}", cancelled_label),
        found("just-made", told.label),
        found("other", "otherinstall-7"),
        found("odd", f"{label}x"),
        found("long", f"{label}{'9' * 30}"),
    )
    assert answer.unwanted == ["of-deleted", "second", f"tumour-{cancelled_label}"]
    assert not answer.failed
    assert starts.state(kept) == ("pending", "")


def test_a_look_waits_for_reports_and_believes_a_workflow_that_lives_again(starts):
    id_, label = starts.started()
    name = f"tumour-{label}"
    assert not starts.look(patience=60).failed
    assert starts.rows("SELECT FROM execution_runs WHERE over_since IS NOT NULL")
    starts.look(found(name, label), patience=60)
    assert not starts.rows("SELECT FROM execution_runs WHERE over_since IS NOT NULL")
    starts.look(patience=60)
    starts.rows("UPDATE execution_runs SET over_since = over_since - interval '61 seconds' RETURNING execution")
    assert starts.look(patience=60).failed == [id_]
    assert starts.state(id_) == ("failed", f"its workflow {name} is gone, and nothing was reported of it")


def test_a_look_that_began_before_a_workflow_was_noted_says_nothing_of_it(starts):
    begun = starts.call(looks.begin, pb.BeginLookParam())
    id_, _ = starts.started()
    asked = pb.EndLookParam(began_at=begun.began_at)
    assert not starts.call(looks.end, asked).failed
    assert starts.state(id_)[0] == "pending"


def test_who_does_not_run_executions_fails_none(starts):
    id_, _ = starts.started()
    assert not starts.look(organization="data-partner-1").failed
    assert starts.state(id_)[0] == "pending"


def test_what_nobody_starts_fails_in_the_end(starts):
    id_, (placed, _) = starts.place(iterations=2), starts.started()
    starts.sweep_unstarted(3000)
    assert starts.state(id_) == ("pending", "")
    starts.sweep_unstarted(3700)
    word, message = starts.state(id_)
    assert word == "failed"
    assert "orchestrator runtime" in message
    assert starts.words(id_) == {"START": "Cancelled", "END": "To do", "CLEAN": "To do"}
    assert starts.state(placed)[0] == "pending"
    assert starts.database.run(NOBODY, CHANNEL, lambda transaction: runs.get(transaction, id_).worker) == CENTRAL


def test_a_look_costs_the_same_for_many(starts):
    costs = []
    for _ in range(2):
        for _ in range(3):
            starts.started()
        with counting() as statements:
            starts.look(patience=60)
        costs.append(len(statements))
    assert costs[0] == costs[1]


def test_a_deleted_schema_ends_all_at_the_same_cost_a_run(starts):
    def cost(count: int) -> int:
        name = starts.schema()
        for _ in range(count):
            starts.started(schema=name)
        with counting() as statements:
            starts.delete_schema(name)
        return len(statements)

    # One more statement for each run: its plan is ended, as the engine does it.
    assert cost(6) - cost(3) == 3


def test_starts_that_are_done_while_their_executions_are_deleted(starts):
    ids = [starts.place() for _ in range(6)]
    taken = {id_: starts.take(id_, "START", pb.StartWork)[0] for id_ in ids}
    together = Barrier(2 * len(ids))

    def done(id_: int) -> None:
        together.wait()
        # It comes too late where the deletion was first.
        with suppress(IncompatibleStatusError):
            starts.done(taken[id_], pb.Started(workflow=f"w-{id_}"))

    def delete(id_: int) -> None:
        together.wait()
        starts.delete(id_)

    with ThreadPoolExecutor(2 * len(ids)) as pool:
        for each in [pool.submit(do, id_) for id_ in ids for do in (done, delete)]:
            each.result(60)
    assert {starts.words(id_)["END"] for id_ in ids} == {"To do"}
    assert not starts.rows("SELECT FROM execution_runs UNION ALL SELECT FROM execution_works WHERE execution <> 0")
