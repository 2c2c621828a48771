"""Two calls on one attempt that begin at the same moment, again and again: one wins, and all that is kept agrees."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.audit import history
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.pokes import STOP_ATTEMPTS
from orchestrator.engine.sweeps import due_retries, expired_leases, stuck_tasks
from orchestrator.engine.transaction import Database
from orchestrator.store.sweep import Sweep
from orchestrator.trace import reading
from tests.integration.test_races import await_blocked
from tests.kit import messages
from tests.kit.database import deadlocks
from tests.kit.member import Member, after, at_once, made
from tests.kit.stalling import stalled

TIMES = 12
TERMINAL = {"Done": pb.STATUS_DONE, "Failed": pb.STATUS_FAILED, "Cancelled": pb.STATUS_CANCELED}
TO_DO = pb.STATUS_WAITING_FOR_EXECUTOR_SLOT


@pytest.fixture
def network(database: Database) -> Iterator[Member]:
    """A network of its own; afterwards its trace is checked, and that nothing waited in a circle."""
    network = Member(database, channel=f"channel-{messages.new_key()}")
    yield network
    query = "SELECT message FROM tasks WHERE channel = :channel"
    for (message,) in network.rows(query, channel=network.channel):
        check(network, UUID(pb.ComputeTask.FromString(message).key))
    assert list(history.check(trace(network))) == []
    network.execute("UPDATE attempts SET ended_at = now() WHERE ended_at IS NULL")
    assert deadlocks(database) == 0


def trace(network: Member) -> list[pb.Event]:
    """The events of the network's channel, in the order in which they were written."""
    query = "SELECT id FROM events WHERE channel = :channel ORDER BY sequence, id"
    order = [str(row.id) for row in network.rows(query, channel=network.channel)]
    found, token = {}, ""
    while True:
        answer = network.call(reading.query, pb.QueryEventsParam(page_size=1000, page_token=token))
        found |= {event.id: event for event in answer.events}
        if not (token := answer.next_page_token):
            return [found[key] for key in order]


def check(network: Member, task: UUID) -> None:
    """Whatever won: the task's row, its attempts, its events and its results tell one story."""
    row, attempts = network.row(task), network.attempts(task)
    words = [word for word, _ in network.history(task)]
    ends = [word for word in words if word in TERMINAL]
    assert network.word(task) == words[-1]
    assert len(ends) <= 1
    assert ends == [word for word in words[-1:] if word in TERMINAL]
    assert [attempt.number for attempt in attempts] == list(range(1, row.attempts + 1))
    assert words.count("Doing") == row.attempts
    assert (row.token_hash is not None) == (words[-1] == "Doing")
    for attempt, following in pairwise(attempts):
        assert attempt.outcome == TO_DO
        assert attempt.ended_at <= following.claimed_at
    if words[-1] == "Doing":
        assert (attempts[-1].outcome, attempts[-1].ended_at) == (None, None)
        assert row.token_hash == attempts[-1].token_hash
    elif words[-2:-1] == ["Doing"]:
        assert attempts[-1].outcome == TERMINAL.get(words[-1], TO_DO)
        assert attempts[-1].ended_at is not None
    made_models = network.rows("SELECT count(*) FROM models WHERE task_key = :key", key=task)[0][0]
    assert made_models == (words[-1] == "Done")
    reports = network.rows("SELECT count(*) FROM failure_reports WHERE asset_key = :key", key=task)[0][0]
    assert reports == (words[-1] == "Failed" and words[-2] == "Doing")


def outcome(call: Callable[[], Any]) -> Any:
    """The code of a call's refusal, or what it answers; "OK" for nothing."""
    try:
        answer = call()
    except OrchestratorError as error:
        return error.code
    return "OK" if answer is None else answer


def race(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    return tuple(at_once(*(lambda call=call: outcome(call) for call in calls)))


def doing(network: Member, **changes: Any) -> Iterator[tuple[UUID, pb.Attempt]]:
    """Tasks that are claimed one after the other, each in a plan of its own."""
    for _ in range(TIMES):
        (task,) = network.register(plan=network.new_plan(), **changes)
        yield task, network.claim(task).attempt


def plan_of(network: Member, task: UUID) -> pb.ComputePlan:
    return pb.ComputePlan(key=str(network.row(task).plan_key))


def completion(network: Member, task: UUID, attempt: pb.Attempt) -> Callable[[], None]:
    """A report with a model: the same whenever it is called."""
    model = messages.new_model(str(task))
    return lambda: network.complete(attempt, model)


def run_out(network: Member, task: UUID) -> None:
    network.execute("UPDATE attempts SET lease_until = now() - interval '1 second' WHERE task_key = :key", key=task)


def sweeping(sweep: Sweep, network: Member, seconds: float = 0.0) -> Callable[[], int]:
    return lambda: sweep.sweep(network.database, after(seconds))


def expiry(network: Member) -> Callable[[], int]:
    return sweeping(made(expired_leases, network.database), network)


def test_claim_and_claim(network: Member):
    for _ in range(TIMES):
        (task,) = network.register()
        answers = race(*[lambda task=task: network.claim(task)] * 2)
        assert sorted(isinstance(answer, pb.ClaimTaskResponse) for answer in answers) == [False, True]
        assert "OE0104" in answers


def test_a_claim_and_the_same_claim(network: Member):
    for _ in range(TIMES):
        (task,) = network.register()
        first, second = race(*[lambda task=task: network.claim(task, 1, "claim")] * 2)
        assert first.attempt.number == second.attempt.number == 1
        assert sorted(len(network.heartbeat(claim.attempt).stops) for claim in (first, second)) == [0, 1]


def test_a_completion_and_the_same_completion(network: Member):
    for task, attempt in doing(network):
        assert race(*[completion(network, task, attempt)] * 2) == ("OK", "OK")
        assert network.word(task) == "Done"


def test_complete_and_complete(network: Member):
    for task, attempt in doing(network):
        answers = race(completion(network, task, attempt), completion(network, task, attempt))
        assert sorted(answers) == ["OE0104", "OK"]
        assert network.word(task) == "Done"


@pytest.mark.parametrize(("attempts", "otherwise"), [("3", "To do"), ("1", "Failed")])
def test_complete_and_lease_expiry(network: Member, attempts: str, otherwise: str):
    for task, attempt in doing(network, metadata={"orchestrator.retry.lost.attempts": attempts}):
        run_out(network, task)
        answers = race(completion(network, task, attempt), expiry(network))
        assert answers in (("OK", 0), ("OE0104", 1))
        assert network.word(task) == ("Done" if answers[0] == "OK" else otherwise)


@pytest.mark.parametrize(("attempts", "otherwise"), [("3", "To do"), ("1", "Failed")])
def test_heartbeat_and_lease_expiry(network: Member, attempts: str, otherwise: str):
    for task, attempt in doing(network, metadata={"orchestrator.retry.lost.attempts": attempts}):
        run_out(network, task)
        answer, ended = race(lambda attempt=attempt: network.heartbeat(attempt), expiry(network))
        assert (len(answer.stops), ended) in ((0, 0), (1, 1))
        assert network.word(task) == (otherwise if ended else "Doing")
        assert len(network.heartbeat(attempt).stops) == ended
        network.execute("UPDATE attempts SET lease_until = now() + interval '1 hour' WHERE task_key = :key", key=task)


def test_a_claim_told_again_and_lease_expiry(network: Member):
    for _ in range(TIMES):
        (task,) = network.register()
        network.claim(task, 1, "claim")
        run_out(network, task)
        answer, ended = race(lambda task=task: network.claim(task, 1, "claim"), expiry(network))
        if ended:
            assert answer == "OE0104"
        else:
            assert not network.heartbeat(answer.attempt).stops
        network.execute("UPDATE attempts SET lease_until = now() + interval '1 hour' WHERE task_key = :key", key=task)


@pytest.mark.parametrize(("attempts", "otherwise"), [("3", "To do"), ("1", "Failed")])
def test_sweep_and_sweep(network: Member, attempts: str, otherwise: str):
    for task, _ in doing(network, metadata={"orchestrator.retry.lost.attempts": attempts}):
        run_out(network, task)
        assert sum(race(expiry(network), expiry(network))) == 1
        assert network.word(task) == otherwise


def test_cancel_and_claim(network: Member):
    for _ in range(TIMES):
        plan = network.new_plan()
        (task,) = network.register(plan=plan)
        network.send()
        cancelled, claim = race(lambda plan=plan: network.cancel(plan), lambda task=task: network.claim(task))
        assert cancelled == "OK"
        assert network.word(task) == "Cancelled"
        pokes = [(poke.message, poke.attempt) for poke in network.send()]
        if claim == "OE0104":
            assert pokes == []
        else:
            assert pokes == [(STOP_ATTEMPTS, 1)]
            (stop,) = network.heartbeat(claim.attempt).stops
            assert stop.reason == "the task is Cancelled"
            assert outcome(completion(network, task, claim.attempt)) == "OE0104"


def test_cancel_the_task_and_claim(network: Member):
    for _ in range(TIMES):
        (task,) = network.register()
        network.send()
        cancel = lambda task=task: network.end(task, pb.TASK_ACTION_CANCELED)  # noqa: E731
        cancelled, claim = race(cancel, lambda task=task: network.claim(task))
        assert (cancelled, network.word(task)) == ("OK", "Cancelled")
        stops = [] if claim == "OE0104" else [(STOP_ATTEMPTS, 1)]
        assert [(poke.message, poke.attempt) for poke in network.send()] == stops
        if stops:
            assert network.heartbeat(claim.attempt).stops


def test_cancel_and_complete(network: Member):
    for task, attempt in doing(network):
        plan = plan_of(network, task)
        child = network.below(task, plan=plan)
        cancelled, completed = race(lambda plan=plan: network.cancel(plan), completion(network, task, attempt))
        assert cancelled == "OK"
        assert network.word(task) == {"OK": "Done", "OE0104": "Cancelled"}[completed]
        assert network.word(child) == "Cancelled"


def test_cancel_the_task_and_complete(network: Member):
    for task, attempt in doing(network):
        cancel = lambda task=task: network.end(task, pb.TASK_ACTION_CANCELED)  # noqa: E731
        answers = race(cancel, completion(network, task, attempt))
        assert sorted(answers) == ["OE0104", "OK"]
        assert network.word(task) == ("Cancelled" if answers[0] == "OK" else "Done")


def test_cancel_and_lease_expiry(network: Member):
    for task, _ in doing(network):
        run_out(network, task)
        plan = plan_of(network, task)
        assert race(lambda plan=plan: network.cancel(plan), expiry(network))[0] == "OK"
        assert network.word(task) == "Cancelled"
        assert network.row(task).due_at is None


@pytest.mark.parametrize(
    ("error_type", "otherwise"), [(pb.ERROR_TYPE_INTERNAL, "To do"), (pb.ERROR_TYPE_EXECUTION, "Failed")]
)
def test_cancel_and_fail(network: Member, error_type: "pb.ErrorType.ValueType", otherwise: str):
    for task, attempt in doing(network):
        plan = plan_of(network, task)
        cancelled, failed = race(
            lambda plan=plan: network.cancel(plan), lambda attempt=attempt: network.fail(attempt, error_type)
        )
        if otherwise == "To do" or failed == "OE0104":
            assert (cancelled, network.word(task)) == ("OK", "Cancelled")
        else:
            # The plan failed first, so that there was nothing to cancel.
            assert (cancelled, network.word(task)) == ("OE0109", "Failed")


@pytest.mark.parametrize(
    ("error_type", "otherwise"), [(pb.ERROR_TYPE_INTERNAL, "To do"), (pb.ERROR_TYPE_EXECUTION, "Failed")]
)
def test_fail_and_complete(network: Member, error_type: "pb.ErrorType.ValueType", otherwise: str):
    for task, attempt in doing(network):
        failed, completed = race(
            lambda attempt=attempt: network.fail(attempt, error_type), completion(network, task, attempt)
        )
        assert (failed == "OE0104") == (completed == "OK")
        assert network.word(task) == ("Done" if completed == "OK" else otherwise)


@pytest.mark.parametrize("error_type", [pb.ERROR_TYPE_INTERNAL, pb.ERROR_TYPE_EXECUTION])
def test_a_fault_and_the_same_fault(network: Member, error_type: "pb.ErrorType.ValueType"):
    for _, attempt in doing(network, metadata={"orchestrator.retry.internal.attempts": "2"}):
        answers = race(*[lambda attempt=attempt: network.fail(attempt, error_type)] * 2)
        retried = error_type == pb.ERROR_TYPE_INTERNAL
        assert [answer.HasField("retry_after") for answer in answers] == [retried, retried]


def test_release_and_complete(network: Member):
    for task, attempt in doing(network):
        answers = race(lambda attempt=attempt: network.release(attempt), completion(network, task, attempt))
        assert sorted(answers) == ["OE0104", "OK"]
        assert network.word(task) == ("To do" if answers[0] == "OK" else "Done")


def test_release_and_lease_expiry(network: Member):
    for task, attempt in doing(network):
        run_out(network, task)
        answers = race(lambda attempt=attempt: network.release(attempt), expiry(network))
        assert answers in (("OK", 0), ("OE0104", 1))
        assert (network.row(task).due_at is None) == (answers[0] == "OK")


def test_a_due_retry_and_its_claim(network: Member):
    for task, attempt in doing(network):
        network.fail(attempt)
        network.send()
        network.execute("UPDATE task_states SET due_at = now() - interval '1 second' WHERE key = :key", key=task)
        sweep = sweeping(made(due_retries, network.database), network)
        claim, _ = race(lambda task=task: network.claim(task), sweep)
        assert claim.attempt.number == 2
        assert [poke.key for poke in network.send()].count(task) <= 1


def test_a_stuck_task_and_its_claim(network: Member):
    sweep = sweeping(made(stuck_tasks, network.database), network)
    for _ in range(TIMES):
        plan = network.new_plan()
        failing, left = network.register(2, plan=plan)
        network.end(failing, pb.TASK_ACTION_FAILED)
        claim, _ = race(lambda left=left: network.claim(left), sweep)
        assert network.word(left) == ("Cancelled" if claim == "OE0104" else "Doing")


@pytest.mark.parametrize("attempts", ["3", "1"])
def test_a_sweep_does_not_wait_for_a_completion_that_is_on_its_way(database: Database, network: Member, attempts: str):
    (task,) = network.register(metadata={"orchestrator.retry.lost.attempts": attempts})
    attempt = network.claim(task).attempt
    run_out(network, task)
    with (
        psycopg.connect(database.url, autocommit=True) as observer,
        ThreadPoolExecutor() as threads,
        # It has locked its task, and not yet its attempt.
        stalled(database.url, "UPDATE ON task_states", "NEW.status = 4") as release,
    ):
        completing = threads.submit(completion(network, task, attempt))
        await_blocked(observer, 1, completing)
        swept = threads.submit(expiry(network))
        await_blocked(observer, 2, swept)
        assert swept.done()
        assert swept.result() == 0
        release()
        completing.result(60)
    assert network.word(task) == "Done"
