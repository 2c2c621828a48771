"""What a worker may say of an attempt, how often, and when it is refused; without the wire between."""

import hashlib
import json

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from orchestrator import protos as pb
from orchestrator.compute import agreements, failure_reports, models
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import claims, outbox
from orchestrator.engine.transaction import Database
from orchestrator.trace import reading
from tests.integration.attempts import LEASE, forged, seconds
from tests.kit import messages
from tests.kit.member import Member, refused

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
        Member(network.database, channel="other").claim(task)
    assert network.word(task) == "To do"


def agreed(network: Member, task, *known: tuple[str, str], organization: str | None = None) -> pb.ClaimAgreedResponse:
    asked = pb.ClaimAgreedParam(
        claim=pb.ClaimTaskParam(compute_task_key=str(task), attempt=1, claim_id="claim"),
        agreed=[pb.Agreed(function_key=function, plan_owner=owner) for function, owner in known],
    )
    return network.call(agreements.claim, asked, organization)


def test_what_is_agreed_is_claimed_and_of_all_else_it_is_told_what_it_asks(network):
    (task,) = network.register()
    function, owner = network.function.key, network.organization
    stranger = "00000000-0000-4000-8000-000000000000"
    for known in ((), [(function, "org-9")], [(stranger, owner)]):
        answer = agreed(network, task, *known)
        assert answer.WhichOneof("answer") == "asked"
        assert (answer.asked.task.key, answer.asked.function.key) == (str(task), function)
        assert network.word(task) == "To do"
    answer = agreed(network, task, (stranger, owner), (function.upper(), owner))
    again = agreed(network, task, (function, owner)).claimed
    assert again.attempt.token != answer.claimed.attempt.token
    again.attempt.token = answer.claimed.attempt.token
    assert again == answer.claimed
    assert len(network.attempts(task)) == 1


def test_another_organizations_task_is_not_claimed_by_what_is_agreed(network):
    (task,) = network.register()
    answer = agreed(network, task, (network.function.key, network.organization), organization="org-2")
    assert answer.WhichOneof("answer") == "asked"
    with refused("OE0002"):
        agreed(network, "00000000-0000-4000-8000-000000000000")
    with refused("OE0003"):
        agreed(network, task, *[(network.function.key, network.organization)] * 101)
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


# Release


def test_a_task_that_is_released_is_to_do_at_once(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    network.send()
    network.release(attempt, "the node is drained")
    assert network.send() == [outbox.Poke(RUN_TASK, "org.org-1", task, 2)]
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


def limit_of(network: Member, of_task: str | None, of_plan: str | None) -> float | None:
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
    told = network.call(reading.query, pb.QueryEventsParam(page_size=1000)).SerializeToString()
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
            network.call(claims.claim, asked)
    with refused("OE0101"):
        network.heartbeat(node="n" * 101)
    assert network.word(task) == "To do"
