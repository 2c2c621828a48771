"""What becomes of the containers of an execution, and of the execution with them."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.pokes import STOP_ATTEMPTS
from orchestrator.engine.transaction import Database
from orchestrator.executions import states
from orchestrator.executions.errors import WholeError
from orchestrator.executions.graph.errors import OutsideError
from tests.integration.executions.runs import CENTRAL, FEDERATED, FIRST, SECOND, Runs, box, dag, task
from tests.kit.member import at_once


@pytest.fixture
def runs(database: Database) -> Iterator[Runs]:
    runs = Runs(database)
    yield runs
    runs.check()


BYE = box(
    "bye", container={"args": ["it has {{workflow.status}}"], "env": [{"name": "S", "value": "{{workflow.status}}"}]}
)


def test_containers_run_where_they_belong_one_after_the_other(runs):
    id_ = runs.start(
        dag(task("train", "train"), task("end", "box", "train")),
        box("train", FIRST, container={"args": ["{{workflow.parameters.execution_dataPartner}}"], "command": ["x"]}),
        box(),
    )
    assert runs.steps(id_) == {"train": "To do", "end": "Waiting"}
    assert runs.poked() == {f"{id_} train"}
    work = runs.run(id_, "train", FIRST)
    assert (work.execution, work.step, work.image, list(work.command), list(work.args)) == (
        id_,
        "train",
        "img",
        ["x"],
        [FIRST],
    )
    assert runs.steps(id_) == {"train": "Done", "end": "To do"}
    runs.report(id_, states.SUCCEEDED)
    runs.run(id_, "end")
    assert runs.look_for_unreported(later=61) == 0
    assert runs.state(id_) == ("succeeded", "")
    assert runs.rows("SELECT * FROM execution_works") == []


def test_what_nobody_reports_of_fails_after_its_time(runs):
    id_ = runs.start(box())
    runs.run(id_, "box")
    assert runs.look_for_unreported(later=30) == 0
    assert runs.state(id_) == ("pending", "")
    assert runs.look_for_unreported(later=61) == 1
    assert runs.state(id_) == ("failed", "all its containers ended, and nothing was reported of it")
    assert runs.look_for_unreported(later=61) == 0


def test_a_container_that_fails_ends_the_others_and_the_execution(runs):
    id_ = runs.start(dag(task("a"), task("b"), task("c", "box", "a")), box())
    other, _ = runs.claim(id_, "b")
    attempt, _ = runs.claim(id_, "a")
    runs.fail(attempt)
    assert runs.steps(id_) == {"a": "Failed", "b": "Cancelled", "c": "Cancelled"}
    assert runs.state(id_) == ("failed", "step a failed: exit code 3")
    stops = runs.rows(f"SELECT key FROM outbox WHERE message = '{STOP_ATTEMPTS}'")
    assert [str(row.key) for row in stops] == [other.compute_task_key]


def test_the_first_report_counts_whatever_the_containers_do(runs):
    id_ = runs.start(box())
    attempt, _ = runs.claim(id_, "box")
    runs.report(id_, states.SUCCEEDED)
    runs.fail(attempt)
    assert runs.state(id_) == ("succeeded", "")


def test_a_container_is_tried_again_as_its_template_says(runs):
    id_ = runs.start(box(retryStrategy={"limit": 1, "backoff": {"duration": "1ms"}}))
    for word in ("To do", "Failed"):
        attempt, _ = runs.claim(id_, "box")
        runs.fail(attempt)
        assert runs.steps(id_) == {"box": word}
    assert runs.state(id_)[0] == "failed"


@pytest.mark.parametrize("ends_well", [True, False])
def test_the_exit_handler_comes_last_and_knows_how_the_run_ended(runs, ends_well):
    id_ = runs.start(dag(task("a"), task("b")), box(), BYE, onExit="bye")
    assert runs.steps(id_) == {"a": "To do", "b": "To do", "onExit": "Waiting"}
    attempt, _ = runs.claim(id_, "a")
    if ends_well:
        runs.complete(attempt)
        assert runs.steps(id_)["onExit"] == "Waiting"
        runs.run(id_, "b")
    else:
        runs.fail(attempt)
        assert runs.steps(id_) == {"a": "Failed", "b": "Cancelled", "onExit": "To do"}
        assert runs.state(id_) == ("pending", "")
    work = runs.run(id_, "onExit")
    word = "Succeeded" if ends_well else "Failed"
    assert (list(work.args), dict(work.env)) == ([f"it has {word}"], {"S": word})
    assert runs.look_for_unreported(later=61) == ends_well
    reason = "all its containers ended, and nothing was reported of it" if ends_well else "step a failed: exit code 3"
    assert runs.state(id_) == ("failed", reason)


def test_an_exit_handler_that_fails_fails_what_was_not_reported(runs):
    id_ = runs.start(box(), dag(task("a", "bye"), task("b", "bye", "a"), name="last"), BYE, onExit="last")
    runs.run(id_, "box")
    attempt, _ = runs.claim(id_, "onExit.a")
    runs.fail(attempt)
    assert runs.steps(id_) == {"box": "Done", "onExit.a": "Failed", "onExit.b": "Cancelled"}
    assert runs.state(id_) == ("failed", "step onExit.a failed: exit code 3")


def test_what_is_cancelled_begins_nothing_more_and_its_exit_handler_neither(runs):
    id_ = runs.start(dag(task("a"), task("b", "box", "a")), box(), BYE, onExit="bye")
    runs.claim(id_, "a")
    runs.cancel(id_)
    assert runs.steps(id_) == {"a": "Cancelled", "b": "Cancelled", "onExit": "Cancelled"}
    assert runs.rows("SELECT * FROM execution_works") == []


def test_of_a_deleted_execution_nothing_is_left(runs):
    id_ = runs.start(*FEDERATED, federated=True)
    runs.delete(id_)
    assert set(runs.steps(id_).values()) == {"Cancelled"}
    for table in ("execution_works", "execution_runs", "task_runs", "gangs"):
        assert runs.rows(f"SELECT * FROM {table}") == []


def test_a_workflow_that_cannot_be_run_so_leaves_nothing(runs):
    for selector in ({"zone": "x"}, {"dataPartner": "nobody"}, {"cloudNode": "other"}):
        with pytest.raises(OutsideError, match='"box"'):
            runs.start(box(nodeSelector=selector))
    assert runs.rows("SELECT * FROM tasks") == runs.rows("SELECT * FROM executions") == []


def test_an_execution_whose_worker_never_comes_fails_one_day(runs):
    id_ = runs.start(box("train", FIRST), BYE, onExit="bye")
    assert runs.look_for_deserted(later=3500) == 0
    assert runs.look_for_deserted() == 1
    assert runs.steps(id_) == {"train": "Cancelled", "onExit": "To do"}
    runs.run(id_, "onExit")
    assert runs.state(id_) == ("failed", f"no worker has read the queue org.{FIRST} for 3600 s")


def test_an_execution_whose_worker_is_busy_waits(runs):
    waiting, never = runs.start(box()), runs.start(*FEDERATED, federated=True)
    runs.hear(CENTRAL)
    runs.rows("UPDATE nodes SET heard_at = heard_at + interval '1 hour' RETURNING 1")
    assert runs.look_for_deserted() == 1
    assert runs.state(waiting) == ("pending", "")
    assert runs.state(never) == ("failed", f"no worker has read the queue org.{FIRST} for 3600 s")


# Gangs


def test_two_federated_executions_on_one_slot_each_both_end(runs):
    runs.hear(CENTRAL, FIRST, SECOND)
    first, second = (runs.start(*FEDERATED, federated=True) for _ in range(2))
    assert runs.poked() == set()
    assert runs.let_in() == 1
    gang = {"server": CENTRAL, "clients(0)": FIRST, "clients(1)": SECOND}
    assert runs.poked() == {f"{first} {step}" for step in gang}
    attempts = {step: runs.claim(first, step, worker)[0] for step, worker in gang.items()}
    assert runs.let_in() == 0
    # A client that is tried again, and containers that have ended, leave the rest its room.
    runs.release(attempts["clients(0)"], FIRST)
    assert runs.let_in() == 0
    runs.run(first, "clients(0)", FIRST)
    runs.complete(attempts["clients(1)"], SECOND)
    assert runs.let_in() == 0
    runs.complete(attempts["server"])
    assert runs.let_in() == 0
    runs.run(first, "end")
    assert runs.let_in() == 1
    for step, worker in gang.items():
        runs.run(second, step, worker)
    runs.run(second, "end")
    assert set(runs.steps(second).values()) == {"Done"}
    assert runs.rows("SELECT * FROM gangs") == []


def test_a_gang_waits_for_whoever_has_a_slot_that_it_needs(runs):
    runs.hear(CENTRAL, FIRST, SECOND)
    alone = runs.start(box("alone", SECOND))
    attempt, _ = runs.claim(alone, "alone", SECOND)
    id_ = runs.start(*FEDERATED, federated=True)
    assert runs.let_in() == 0
    assert runs.poked() == {f"{alone} alone"}
    runs.complete(attempt, SECOND)
    assert runs.let_in() == 1
    assert runs.steps(id_)["server"] == "To do"


def test_a_gang_waits_for_a_worker_and_fails_where_there_is_none_too_few(runs):
    runs.hear(CENTRAL, FIRST)
    one = runs.start(*FEDERATED, federated=True)
    assert runs.let_in(gang_patience=0) == 0
    two = runs.start(dag(task("a"), task("b")), box(), federated=True)
    assert runs.let_in() == 0
    assert runs.let_in(gang_patience=0) == 1
    words = "2 containers must run side by side at org.central, and its workers have 1 slots"
    assert runs.state(two) == ("failed", words)
    assert runs.state(one) == ("pending", "")
    assert set(runs.steps(two).values()) == {"Cancelled"}


def test_topics_are_made_before_all_else_where_a_runtime_is(runs):
    id_ = runs.start(*FEDERATED, federated=True, runtime="on")
    runs.hear(CENTRAL, FIRST, SECOND)
    assert runs.let_in() == 0
    attempt, work = runs.claim(id_, "", work=pb.StartWork())
    assert work.communication_adapter.startswith(f"{id_}_-SEP-_")
    assert work.manifest == b""
    runs.complete(attempt, done=pb.Started())
    assert runs.let_in() == 1


@pytest.mark.parametrize("reported", [False, True])
def test_a_run_whose_topics_cannot_be_made_fails_and_starts_nothing(runs, reported):
    id_ = runs.start(*FEDERATED, BYE, federated=True, runtime="on", onExit="bye")
    attempt, _ = runs.claim(id_, "", work=pb.StartWork())
    if reported:
        runs.report(id_, states.RUNNING)
    runs.fail(attempt, reason="Kafka refuses")
    runs.cancel_stuck()
    assert set(runs.steps(id_).values()) == {"Failed", "Cancelled"}
    assert runs.state(id_) == ("failed", "it could not be started: Kafka refuses")


def test_the_audit_finds_a_gate_that_somebody_was_poked_for(database):
    runs = Runs(database)
    runs.start(*FEDERATED, federated=True)
    runs.check()
    runs.rows(
        "INSERT INTO outbox (message, queue, priority, key, attempt, created_at) "
        "SELECT 'task.run', 'org.central', 0, key, 1, now() FROM tasks WHERE queue = '' LIMIT 1 RETURNING key"
    )
    with pytest.raises(AssertionError, match="it has no queue, and was poked all the same"):
        runs.check()


# Races


def test_of_two_last_containers_that_end_at_once_one_ends_the_run(runs):
    id_ = runs.start(dag(*(task(name) for name in "abcd")), box(), BYE, onExit="bye")
    attempts = [runs.claim(id_, name)[0] for name in "abcd"]
    at_once(*(partial(runs.complete, attempt) for attempt in attempts))
    assert list(runs.run(id_, "onExit").args) == ["it has Succeeded"]


def test_of_two_containers_that_fail_at_once_one_fails_the_run(runs):
    id_ = runs.start(dag(*(task(name) for name in "abc")), box(), BYE, onExit="bye")
    attempts = [runs.claim(id_, name)[0] for name in "ab"]
    at_once(*(partial(_try_to_fail, runs, attempt) for attempt in attempts))
    assert sorted(runs.steps(id_).values()) == ["Cancelled", "Cancelled", "Failed", "To do"]
    assert list(runs.run(id_, "onExit").args) == ["it has Failed"]


def _try_to_fail(runs, attempt):
    with suppress(IncompatibleStatusError):
        runs.fail(attempt)


def test_of_two_sweeps_at_once_only_one_lets_a_run_in(runs):
    runs.hear(CENTRAL, FIRST, SECOND)
    for _ in range(2):
        runs.start(*FEDERATED, federated=True)
    assert sum(at_once(runs.let_in, runs.let_in, runs.let_in)) == 1


def test_a_report_and_the_end_of_the_run_at_once_leave_one_of_the_two(runs):
    id_ = runs.start(box())
    attempt, _ = runs.claim(id_, "box")
    at_once(partial(runs.fail, attempt), lambda: _try_to_succeed(runs, id_))
    assert runs.state(id_) in (("succeeded", ""), ("failed", "step box failed: exit code 3"))


def _try_to_succeed(runs, id_):
    with suppress(WholeError):
        runs.report(id_, states.SUCCEEDED)
