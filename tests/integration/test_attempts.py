"""What a worker may say of an attempt, how often, and when it is refused; without the wire between."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from beat import due_retries
from orchestrator import protos as pb
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.retries import DEFAULT_BACKOFF, Rules
from orchestrator.services import attempts, events, failure_reports, models, nodes
from orchestrator.store import outbox
from orchestrator.store.database import Database
from tests.conformance import messages
from tests.integration.beat.network import Network, after, made, refused

LEASE = Rules().lease


@pytest.fixture
def network(database: Database) -> Network:
    return Network(database)


@pytest.fixture
def stranger(database: Database, network: Network) -> Network:
    """Another organization of the channel."""
    return Network(database, "org-2")


def to_do_again(network: Network) -> None:
    """End the pauses."""
    made(due_retries, network.database).sweep(network.database, after(3600))


def seconds(duration) -> float:
    return duration.ToTimedelta().total_seconds()


# Claims


def test_a_claim_answers_with_all_that_the_worker_needs(network):
    (parent,) = network.register()
    network.run(parent)
    task = network.below(parent)
    network.send()
    claim = network.claim(task)
    assert (claim.attempt.compute_task_key, claim.attempt.number) == (str(task), 1)
    assert claim.task.status == pb.STATUS_EXECUTING
    assert claim.function.key == network.function.key
    assert [asset.model.compute_task_key for asset in claim.input_assets] == [str(parent)]
    assert claim.lease.ToTimedelta() == LEASE
    assert not claim.HasField("time_limit")
    (row,) = network.attempts(task)
    assert row.lease_until - row.claimed_at == LEASE
    assert network.history(task)[-1] == ("Doing", "attempt 1 claimed by node-1")


def test_the_same_claim_again_is_the_same_attempt_under_a_new_token(network):
    (task,) = network.register()
    first = network.claim(task, 1, "claim")
    second = network.claim(task, 1, "claim")
    assert first.attempt.number == second.attempt.number == 1
    assert first.attempt.token != second.attempt.token
    first.attempt.token = second.attempt.token
    assert first == second
    assert len(network.attempts(task)) == 1
    assert [word for word, _ in network.history(task)] == ["To do", "Doing"]


def test_only_the_last_token_counts(network):
    (task,) = network.register()
    lost, kept = network.claim(task, 1, "claim").attempt, network.claim(task, 1, "claim").attempt
    with refused("OE0104"):
        network.complete(lost)
    assert [stop.number for stop in network.heartbeat(lost).stops] == [1]
    network.complete(kept)


@pytest.mark.parametrize("attempt", [2, 99, -1])
def test_a_claim_of_an_attempt_that_is_not_due_is_refused(network, attempt):
    (task,) = network.register()
    with refused("OE0104", "is not due"):
        network.claim(task, attempt)
    assert network.word(task) == "To do"


def test_a_claim_of_what_is_not_to_do_is_refused(network):
    doing, done, cancelled, parent = network.register(4)
    waiting = network.below(parent)
    network.claim(doing)
    network.run(done)
    network.end(cancelled, pb.TASK_ACTION_CANCELED)
    for task, word in ((doing, "Doing"), (done, "Done"), (cancelled, "Cancelled"), (waiting, "Waiting")):
        before = network.snapshot(task)
        with refused("OE0104", f"is {word}, not To do"):
            network.claim(task)
        assert network.snapshot(task) == before


def test_only_its_worker_claims_a_task(network, stranger):
    (task,) = network.register()
    with refused("OE0102"):
        stranger.claim(task)
    with refused("OE0002"):
        Network(network.database, channel="other").claim(task)
    assert network.word(task) == "To do"


def test_a_claim_whose_attempt_has_ended_is_not_repeated(network):
    (task,) = network.register()
    network.release(network.claim(task, claim_id="claim").attempt)
    with refused("OE0104"):
        network.claim(task, 1, "claim")
    assert network.claim(task, 0, "claim").attempt.number == 2


# Completion


def test_complete_again_changes_nothing(network):
    (task,) = network.register()
    attempt, model = network.claim(task).attempt, messages.new_model(str(task))
    network.complete(attempt, model, profiling_steps=[messages.profiling_step(str(task))])
    before = network.snapshot(task)
    network.complete(attempt, model, profiling_steps=[messages.profiling_step(str(task))])
    assert network.snapshot(task) == before
    assert before[0].token_hash is None
    (row,) = network.attempts(task)
    assert (row.outcome, row.fault) == (pb.STATUS_DONE, None)


def test_another_report_of_the_same_attempt_is_refused(network):
    (task,) = network.register()
    attempt = network.run(task)
    before = network.snapshot(task)
    for other in (
        lambda: network.complete(attempt, messages.new_model(str(task))),
        lambda: network.complete(attempt),
        lambda: network.fail(attempt),
        lambda: network.release(attempt),
    ):
        with refused("OE0104", "does not hold"):
            other()
    assert network.snapshot(task) == before


def test_a_result_that_does_not_fit_keeps_the_attempt_and_nothing_else(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    before = network.snapshot(task)
    good = messages.new_model(str(task))
    with refused("OE0106"):
        network.complete(attempt, good, messages.new_model(str(task), compute_task_output_identifier="other"))
    with refused("OE0006"):
        network.complete(attempt, good, messages.new_model(str(task)))
    with refused("OE0003", "another task"):
        network.complete(attempt, messages.new_model(messages.new_key()))
    assert network.snapshot(task) == before
    network.complete(attempt, good)
    assert network.word(task) == "Done"


def forged(attempt: pb.Attempt, **changes) -> pb.Attempt:
    made = pb.Attempt()
    made.CopyFrom(attempt)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_only_the_tokens_holder_reports(network, stranger):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    before = network.snapshot(task)
    for wrong in (forged(attempt, token=""), forged(attempt, token="guessed"), forged(attempt, token="\0é")):
        for report in (network.complete, network.fail, network.release):
            with refused("OE0104", "does not hold"):
                report(wrong)
        assert network.heartbeat(wrong).stops
    for report in (network.fail, network.release):
        with refused("OE0104", "does not hold"):
            report(forged(attempt, number=2))
    for report in (stranger.complete, stranger.fail, stranger.release):
        with refused("OE0102"):
            report(attempt)
    for report in (network.complete, network.fail, network.release):
        with refused("OE0002"):
            report(forged(attempt, compute_task_key=messages.new_key()))
        with refused("OE0101"):
            report(forged(attempt, compute_task_key="no key"))
    assert network.snapshot(task) == before


def test_a_client_without_attempts_may_not_report_for_one(network):
    (task,) = network.register()
    network.claim(task)
    before = network.snapshot(task)
    with refused("OE0104"):
        network.end(task, pb.TASK_ACTION_DONE)
    with refused("OE0104"):
        network.call(models.register, messages.models(messages.new_model(str(task))))
    with refused("OE0104"):
        network.call(failure_reports.register, messages.task_failure(str(task)))
    assert network.snapshot(task) == before


# Faults


def test_a_fault_of_the_function_fails_the_task_with_a_report(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    answer = network.fail(attempt, pb.ERROR_TYPE_EXECUTION)
    assert not answer.HasField("retry_after")
    assert network.word(task) == "Failed"
    assert network.failed()
    report = network.call(failure_reports.get, pb.GetFailureReportParam(asset_key=str(task)))
    assert (report.error_type, report.logs_address) == (pb.ERROR_TYPE_EXECUTION, messages.address())
    assert network.attempts(task)[0].fault == "execution"
    before = network.snapshot(task)
    assert network.fail(attempt, pb.ERROR_TYPE_EXECUTION) == answer
    assert network.snapshot(task) == before
    with refused("OE0104"):
        network.fail(attempt, pb.ERROR_TYPE_BUILD)


def test_a_fault_that_the_policy_retries_is_followed_by_a_pause(network):
    (task,) = network.register()
    network.send()
    attempt = network.claim(task).attempt
    began = datetime.now(UTC)
    answer = network.fail(attempt)
    assert DEFAULT_BACKOFF / 2 <= seconds(answer.retry_after) <= DEFAULT_BACKOFF
    row = network.row(task)
    assert timedelta() <= row.due_at - began - answer.retry_after.ToTimedelta() < timedelta(seconds=5)
    assert (network.word(task), network.failed(), network.send()) == ("To do", False, [])
    word, reason = network.history(task)[-1]
    assert (word, reason.startswith("attempt 1 ended (internal)"), "may begin in" in reason) == ("To do", True, True)
    with refused("OE0002"):
        network.call(failure_reports.get, pb.GetFailureReportParam(asset_key=str(task)))


@pytest.mark.parametrize("most", ["2", "9"])
def test_a_fault_told_again_says_again_that_the_task_is_retried(network, most):
    # Of two it is the last but one: counted twice, it would be the last.
    (task,) = network.register(metadata={"orchestrator.retry.internal.attempts": most})
    attempt = network.claim(task).attempt
    first = network.fail(attempt)
    before = network.snapshot(task)
    again = network.fail(attempt)
    assert timedelta() < again.retry_after.ToTimedelta() <= first.retry_after.ToTimedelta()
    assert network.snapshot(task) == before
    to_do_again(network)
    network.claim(task)
    late = network.fail(attempt)
    assert late.HasField("retry_after")
    assert seconds(late.retry_after) == 0
    assert network.word(task) == "Doing"


def test_after_as_many_faults_as_the_policy_says_the_task_is_failed(network):
    (task,) = network.register(metadata={"orchestrator.retry.execution.attempts": "3"})
    for number in (1, 2):
        assert network.fail(network.claim(task, number).attempt, pb.ERROR_TYPE_EXECUTION).HasField("retry_after")
        to_do_again(network)
    assert not network.fail(network.claim(task, 3).attempt, pb.ERROR_TYPE_EXECUTION).HasField("retry_after")
    assert network.word(task) == "Failed"
    assert [row.fault for row in network.attempts(task)] == ["execution"] * 3


def test_each_kind_of_fault_is_counted_on_its_own(network):
    metadata = {f"orchestrator.retry.{kind}.attempts": "2" for kind in ("build", "execution", "internal", "timeout")}
    (task,) = network.register(metadata=metadata)
    for error_type, timed_out in (
        (pb.ERROR_TYPE_BUILD, False),
        (pb.ERROR_TYPE_EXECUTION, False),
        (pb.ERROR_TYPE_INTERNAL, False),
        (pb.ERROR_TYPE_EXECUTION, True),
    ):
        assert network.fail(network.claim(task).attempt, error_type, timed_out).HasField("retry_after")
        to_do_again(network)
    assert [row.fault for row in network.attempts(task)] == ["build", "execution", "internal", "timeout"]
    network.fail(network.claim(task).attempt, pb.ERROR_TYPE_EXECUTION, timed_out=True)
    assert network.word(task) == "Failed"


def test_a_time_out_is_not_retried_unless_somebody_says_so(network):
    (plain,) = network.register()
    assert not network.fail(network.claim(plain).attempt, pb.ERROR_TYPE_EXECUTION, timed_out=True).HasField(
        "retry_after"
    )
    assert (network.word(plain), network.attempts(plain)[0].fault) == ("Failed", "timeout")


def test_the_pause_is_the_tasks_or_the_plans(network):
    plan = network.new_plan(metadata={"orchestrator.retry.backoff": "100", "orchestrator.retry.cap": "40"})
    (by_plan,) = network.register(plan=plan)
    (by_task,) = network.register(plan=plan, metadata={"orchestrator.retry.cap": "10"})
    assert 20 <= seconds(network.fail(network.claim(by_plan).attempt).retry_after) <= 40
    assert 5 <= seconds(network.fail(network.claim(by_task).attempt).retry_after) <= 10


def test_nothing_is_retried_for_a_plan_that_has_failed(network):
    running, failing = network.register(2)
    attempt = network.claim(running).attempt
    network.end(failing, pb.TASK_ACTION_FAILED)
    assert not network.fail(attempt).HasField("retry_after")
    assert network.word(running) == "Failed"


@pytest.mark.parametrize(
    "metadata",
    [
        {"orchestrator.retry.lost.attempts": "0"},
        {"orchestrator.time_limit": "soon"},
        {"orchestrator.retry.attempts": "1"},
    ],
)
def test_metadata_that_mean_nothing_are_refused_when_they_are_registered(network, metadata):
    (name,) = metadata
    with refused("OE0101", name):
        network.new_plan(metadata=metadata)
    with refused("OE0101", name):
        network.register(metadata=metadata)


# Release


def test_a_task_that_is_released_is_to_do_at_once(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    network.send()
    network.release(attempt, "the node is drained")
    assert network.send() == [outbox.Poke("task", "org-1", task, 2)]
    assert network.history(task)[-1] == ("To do", "attempt 1 was released: the node is drained")
    (row,) = network.attempts(task)
    assert (row.outcome, row.fault, network.row(task).due_at) == (pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, None, None)
    before = network.snapshot(task)
    network.release(attempt, "the node is drained")
    assert network.snapshot(task) == before
    assert not network.send()
    with refused("OE0104"):
        network.release(attempt, "another reason")
    assert network.claim(task, 2).attempt.number == 2
    network.release(attempt, "the node is drained")
    assert network.word(task) == "Doing"


def test_a_release_is_no_fault(network):
    (task,) = network.register(metadata={"orchestrator.retry.lost.attempts": "1"})
    for number in range(1, 11):
        network.release(network.claim(task, number).attempt)
    assert network.word(task) == "To do"


# Time limits


def limit_of(network: Network, of_task: str | None, of_plan: str | None) -> float | None:
    plan = network.new_plan(metadata={"orchestrator.time_limit": of_plan} if of_plan else {})
    (task,) = network.register(plan=plan, metadata={"orchestrator.time_limit": of_task} if of_task else {})
    claim = network.claim(task)
    return seconds(claim.time_limit) if claim.HasField("time_limit") else None


def test_the_time_limit_of_a_task(network):
    assert limit_of(network, None, None) is None
    assert limit_of(network, "0.25", None) == 0.25
    assert limit_of(network, "7200", None) == 7200


def test_a_plans_time_limit_is_what_is_left_of_it(network):
    assert limit_of(network, None, "3600") == pytest.approx(3600, abs=60)
    assert limit_of(network, None, "3600") < 3600
    assert limit_of(network, "60", "3600") == 60
    assert limit_of(network, "7200", "3600") < 3600
    assert limit_of(network, None, "0.001") == 1


# Heartbeats


def test_a_heartbeat_renews_what_lives_and_stops_the_rest(network):
    living, done, cancelled, lost = network.register(4)
    attempts = [network.claim(task).attempt for task in (living, done, cancelled, lost)]
    network.complete(attempts[1])
    network.end(cancelled, pb.TASK_ACTION_CANCELED)
    network.release(attempts[3])
    before = network.attempts(living)[0].lease_until
    answer = network.heartbeat(*attempts)
    assert answer.lease.ToTimedelta() == LEASE
    assert network.attempts(living)[0].lease_until > before
    assert {(stop.compute_task_key, stop.number, stop.reason) for stop in answer.stops} == {
        (str(done), 1, "the task is Done"),
        (str(cancelled), 1, "the task is Cancelled"),
        (str(lost), 1, "the task is To do"),
    }


def test_an_attempt_of_nothing_is_stopped(network):
    unknown = pb.Attempt(compute_task_key=messages.new_key(), number=1, token="token")
    (stop,) = network.heartbeat(unknown).stops
    assert stop.reason == "the task does not exist"


def test_receipts_tell_how_far_a_cancellation_has_reached(network):
    here, there, ended, waiting = network.register(4)
    attempts = [network.claim(here, node="a").attempt, network.claim(there, node="b").attempt]
    network.run(ended)
    assert not network.receipts()
    network.cancel()
    first, second = network.receipts()
    assert [(r.compute_task_key, r.worker, r.node, r.number) for r in (first, second)] == [
        (str(here), "org-1", "a", 1),
        (str(there), "org-1", "b", 1),
    ]
    assert all(r.HasField("requested") and not r.HasField("delivered") for r in (first, second))
    assert str(waiting) not in {first.compute_task_key, second.compute_task_key}

    assert [stop.compute_task_key for stop in network.heartbeat(attempts[0], node="a").stops] == [str(here)]
    first, second = network.receipts()
    assert first.requested.ToDatetime() <= first.delivered.ToDatetime()
    assert [(r.HasField("delivered"), r.HasField("stopped")) for r in (first, second)] == [
        (True, False),
        (False, False),
    ]

    network.heartbeat(stopped=attempts, node="a")
    told = network.receipts()
    assert all(r.HasField("stopped") and r.HasField("delivered") for r in told)
    assert told[0].delivered == first.delivered
    assert told[0].stopped.ToDatetime() > told[0].delivered.ToDatetime()
    network.heartbeat(*attempts, stopped=attempts)
    assert network.receipts() == told


def test_a_receipt_is_taken_from_the_tokens_holder_only(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    network.heartbeat(stopped=[attempt])
    assert network.attempts(task)[0].stopped_at is None
    network.cancel()
    network.heartbeat(stopped=[forged(attempt, token="guessed")])
    (receipt,) = network.receipts()
    assert not receipt.HasField("stopped")
    with refused("OE0104"):
        network.complete(attempt)


def test_a_cancellation_is_of_a_plan_that_exists(network):
    for key, code in ((messages.new_key(), "OE0002"), ("no key", "OE0101")):
        with refused(code):
            network.call(nodes.cancellation, pb.GetCancellationParam(compute_plan_key=key))


def test_nodes_are_listed_when_they_were_heard(network, stranger, database):
    def listed() -> dict[tuple[str, str], pb.Node]:
        answer = network.call(nodes.get_all, pb.GetNodesParam())
        assert answer.lease.ToTimedelta() == LEASE
        assert abs(answer.now.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
        return {(node.organization, node.name): node for node in answer.nodes}

    assert not listed()
    network.heartbeat(node="b")
    stranger.heartbeat(node="b")
    attempts = [network.claim(task).attempt for task in network.register(2)]
    network.heartbeat(*attempts, node="a")
    Network(database, channel="other").heartbeat(node="c")
    found = listed()
    assert list(found) == [("org-1", "a"), ("org-1", "b"), ("org-2", "b")]
    assert [node.attempts for node in found.values()] == [2, 0, 0]
    before = found["org-1", "a"].last_heartbeat.ToDatetime()
    network.heartbeat(node="a")
    node = listed()["org-1", "a"]
    assert node.last_heartbeat.ToDatetime() > before
    assert node.attempts == 0


# Tokens


def test_tokens_are_random_and_long(network):
    tokens = {network.claim(task).attempt.token for task in network.register(20)}
    assert len(tokens) == 20
    assert all(len(token) >= 43 for token in tokens)


def test_tokens_are_neither_kept_nor_told(network, capfd):
    """A whole life, with refusals; then every column of every table, every event and every line is read."""
    tasks = network.register(6)
    with capture_logs() as logs:
        given = [network.claim(task, claim_id="claim").attempt for task in tasks]
        given.append(network.claim(tasks[0], claim_id="claim").attempt)
        network.heartbeat(*given)
        network.complete(given[-1], messages.new_model(str(tasks[0])))
        network.fail(given[1])
        network.release(given[2])
        network.end(tasks[3], pb.TASK_ACTION_CANCELED)
        network.fail(given[4], pb.ERROR_TYPE_EXECUTION)
        network.heartbeat(*given, stopped=given)
        for attempt in given[:-1]:
            with pytest.raises(OrchestratorError) as caught:
                network.complete(attempt, messages.new_model(attempt.compute_task_key, address=messages.address("")))
            assert attempt.token not in str(caught.value)
            assert attempt.token not in repr(caught.value)
    kept = everything(network.database)
    told = network.call(events.query, pb.QueryEventsParam(page_size=1000)).SerializeToString()
    out, err = capfd.readouterr()
    lines = json.dumps(logs, default=str) + out + err
    running = hashlib.sha256(given[5].token.encode()).digest()
    assert running.hex() in kept
    for attempt in given:
        digest = hashlib.sha256(attempt.token.encode()).digest()
        assert attempt.token not in kept
        assert attempt.token.encode().hex() not in kept
        assert attempt.token.encode() not in told
        assert digest not in told
        assert attempt.token not in lines
        assert digest.hex() not in lines


def everything(database: Database) -> str:
    """The content of all tables as text; bytes in hexadecimal."""
    with psycopg.connect(database.url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert ("attempts",) in tables
        rows = [
            row
            for (table,) in tables
            for row in connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table)))
        ]
    return "\n".join(text for (text,) in rows)


def test_a_nodes_name_and_a_claim_are_checked(network):
    (task,) = network.register()
    for asked in (
        pb.ClaimTaskParam(compute_task_key=str(task), node="n" * 101, claim_id="c"),
        pb.ClaimTaskParam(compute_task_key=str(task), node="n", claim_id=""),
        pb.ClaimTaskParam(compute_task_key=str(task), node="n\0", claim_id="c"),
        pb.ClaimTaskParam(compute_task_key="task", node="n", claim_id="c"),
    ):
        with refused("OE0101"):
            network.call(attempts.claim, asked)
    with refused("OE0101"):
        network.heartbeat(node="n" * 101)
    assert network.word(task) == "To do"
